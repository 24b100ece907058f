"""Trains on parts of a run's training rows, for the forecast of what more of them would bring."""

from __future__ import annotations

import time

import numpy as np
import torch
from omegaconf import DictConfig

from lit_mlfund.callbacks import TrainingDiverged
from lit_mlfund.diagnostics.evidence import LearningCurve
from lit_mlfund.diagnostics.learning_curve import LEAST_SIZES, forecast
from lit_mlfund.metrics import Evaluation
from lit_mlfund.runs.assembly.part import part_of, rows_problem
from lit_mlfund.runs.doctor.collect import Source
from lit_mlfund.runs.evaluation.retraining import retrained

DIVISORS = (8, 4, 2)  # of the training rows; two disjoint parts of each size are trained on
LEAST_ROWS = 10  # of the smallest part
RESAMPLES = 200


def measured_curve(
    asked: DictConfig, source: Source, metric: str, budget_s: float | None
) -> tuple[LearningCurve | None, str]:
    """Train on an eighth, a quarter and half of the rows, and forecast; return the curve, or nothing and why.

    Args:
        asked: the configuration before numbers that follow from the rows were put in: each part has its own.
        source: of the finished run, which is the largest training.
        metric: what the forecast is of.
        budget_s: seconds after which no further training is expected to end; None for no limit.
    """
    data, module = source.data, source.module
    test = module.evaluations["test"]
    if (problem := rows_problem(data)) is not None:
        return None, problem
    num_rows = len(data.stores["train"])
    if num_rows // DIVISORS[0] < LEAST_ROWS:
        return None, f"an eighth of {num_rows:,} training rows is fewer than {LEAST_ROWS}"
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(asked.seed))
    sizes, evaluations = [num_rows], [test]
    started = time.perf_counter()
    seconds_per_row = 0.0
    for divisor in DIVISORS:
        size = num_rows // divisor
        for part in order.split(size)[:2]:
            spent = time.perf_counter() - started
            if budget_s is not None and spent + seconds_per_row * size > budget_s:
                continue
            try:
                trained = retrained(asked, part_of(data, part))
            except (TrainingDiverged, FloatingPointError) as failure:
                return None, f"training on {size:,} rows: {failure}"
            seconds_per_row = (time.perf_counter() - started - spent) / size
            sizes.append(size)
            evaluations.append(trained.evaluations["test"])
    if len(set(sizes)) < LEAST_SIZES:
        return (
            None,
            f"doctor.budget_s={budget_s:g} is too short for trainings on {LEAST_SIZES - 1} sizes of parts",
        )
    return _curve(metric, module.metrics[metric] == "max", sizes, evaluations)


def _curve(
    metric: str, rises: bool, sizes: list[int], evaluations: list[Evaluation]
) -> tuple[LearningCurve | None, str]:
    values = np.array([evaluation.values()[metric] for evaluation in evaluations])
    if not np.isfinite(values).all():
        return None, f"test/{metric} is undefined"
    resampled = np.stack([part.resamples(RESAMPLES)[metric] for part in evaluations], axis=1)
    losses, spread = (1 - values, 1 - resampled) if rises else (values, resampled)  # 1 is the best value
    gain, limit = forecast(sizes, list(losses), spread)
    return LearningCurve(metric, sizes, values.tolist(), gain, 1 - limit if rises else limit), ""
