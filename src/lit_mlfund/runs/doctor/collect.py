"""Collects the evidence of a run from its parts: measurements, references, traces of the training."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from lit_mlfund.callbacks import EarlyStopping, Vitals
from lit_mlfund.config.compatibility import task_name
from lit_mlfund.datamodules import DataModule
from lit_mlfund.diagnostics.calibration import fit_temperature
from lit_mlfund.diagnostics.evidence import Calibration, Evidence, Measure, Measures, NonFinite
from lit_mlfund.diagnostics.finding import Finding, doctor_failed
from lit_mlfund.diagnostics.ladder import FLOORS
from lit_mlfund.diagnostics.measures.data_evidence import DataEvidence
from lit_mlfund.metrics import Evaluation, Interval
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.outputs import PointOutputs
from lit_mlfund.runs.doctor.checks import check_module

DEFAULT_LOSSES = {"binary": "bce", "multiclass": "cross_entropy", "regression": "mse"}
DEFAULT_LOSSES |= {"ranking": "lambdarank", "retrieval": "infonce"}
KEPT = {  # values of the configuration from which fixes start
    "optim": ("lr", "weight_decay"),
    "model": ("hidden", "dropout", "activation", "norm"),
    "trainer": ("max_epochs", "gradient_clip_val"),
    "schedule": ("warmup_fraction",),
    "data": ("exclude", "batch_size"),
}
MAX_ENTRIES = 300  # of a history, evenly spaced


@dataclass(frozen=True)
class Source:
    """Holds the parts of a finished run that evidence is taken from.

    measured  split -> metric -> value, low, high
    logged    history by epoch and by step, as in `metrics.json`
    training  the evaluation of rows of the training split, if it was possible, and their `outputs`
    configured  callbacks of the configuration
    """

    config: DictConfig
    module: TaskModule
    data: DataModule
    measured: dict[str, dict[str, dict[str, float]]]
    logged: dict[str, Any]
    training: Evaluation | None
    outputs: Any
    numbers: dict[str, float]
    configured: list[Any]


def evidence_of_run(
    source: Source,
    vitals: Vitals,
    references: Mapping[str, Evaluation],
    others: list[Finding],
    rows: int,
    seconds: float,
) -> Evidence:
    """Collect the evidence of a finished run; `references` were evaluated on the test rows.

    Questions on the data that do not begin within `seconds` are left out.
    """
    started = time.perf_counter()
    config, module = source.config, source.module
    test = module.evaluations["test"]
    floor = next((name for name in FLOORS if name in references), None)
    gains = {name: paired_gains(test, other, module.metrics) for name, other in references.items()}
    floor_gains = {
        name: paired_gains(other, references[floor], module.metrics)
        for name, other in references.items()
        if floor is not None and name != floor
    }
    checks, why = check_module(module, source.data, rows)
    missing = {name: reason for name, reason in (("checks", why), ("layers", vitals.missing)) if reason}
    if source.training is None:
        missing["training"] = "training rows are not in memory"
    if not references:
        missing["references"] = "references=false, or the task has none"
    store = source.data.stores.get("train")
    layers = vitals.layers()
    compared = time.perf_counter()
    in_data, failed = examine_data(source.data, _predictions(source), seconds)
    compared = time.perf_counter() - compared
    return Evidence(
        task=task_name(config),
        monitor=config.monitor.removeprefix("val/"),
        directions=dict(module.metrics),
        settings=_settings(config, module) | {
            "early_stopping": any(isinstance(part, EarlyStopping) for part in source.configured),
            "steps": source.numbers.get("steps"),
        },
        rows={split: evaluation.num_rows for split, evaluation in module.evaluations.items()},
        splits={split: _measures(metrics) for split, metrics in source.measured.items()},
        training={} if source.training is None else _training(source.training),
        initial=vitals.initial,
        references={name: _intervals(evaluation.intervals()) for name, evaluation in references.items()},
        gains=gains,
        floor_gains=floor_gains,
        history=_thinned(source.logged["history"]),
        losses=[_losses(entry) for entry in _thinned(source.logged["steps"])],
        batch_spread=vitals.batch_spread(store, source.data.batch_size),
        updates=vitals.updates(),
        leftover=vitals.leftover(),
        loading={"waited": round(vitals.waited, 3), "worked": round(vitals.worked, 3)},
        layers=layers,
        checks=checks,
        calibration=_calibration(module, source.measured),
        data=in_data,
        others=[finding.to_dict() for finding in (*failed, *others)],
        missing=missing,
        cost={
            "training": round(vitals.seconds, 4),
            "data": round(compared, 4),
            "afterwards": round(time.perf_counter() - started - compared, 4),
        },
    )  # fmt: skip


def evidence_of_data(config: DictConfig, data: DataModule, seconds: float) -> Evidence:
    """Collect the evidence of data on which nothing was trained yet."""
    started = time.perf_counter()
    found, failed = examine_data(data, {}, seconds)
    return Evidence(
        task=task_name(config),
        monitor=config.monitor.removeprefix("val/"),
        settings=_settings(config, None),
        data=found,
        others=[finding.to_dict() for finding in failed],
        cost={"data": round(time.perf_counter() - started, 4)},
    )


def examine_data(
    data: DataModule, predictions: dict[str, PointOutputs], seconds: float
) -> tuple[DataEvidence | None, list[Finding]]:
    """Compare the splits and look at single rows; where that fails, all other evidence is still good."""
    # these import scikit-learn, which takes a second: not before a training has ended
    from lit_mlfund.diagnostics.measures.examine import examine
    from lit_mlfund.runs.doctor.sample import sample_data

    try:
        return examine(sample_data(data, predictions), seconds), []
    except Exception as error:
        return None, [doctor_failed(error)]


def _predictions(source: Source) -> dict[str, PointOutputs]:
    """Return what the model says of the rows that were evaluated, by split."""
    outputs = {"train": source.outputs, **source.module.collected}
    return {
        split: part
        for split, part in outputs.items()
        if isinstance(part, PointOutputs) and part.index is not None
    }


def evidence_of_failure(
    config: DictConfig,
    failure: Exception,
    found: NonFinite | None,
    logged: dict[str, Any],
    missing: dict[str, str],
) -> Evidence:
    """Collect the evidence of a training that stopped as loss, gradient or predictions were not finite."""
    return Evidence(
        task=task_name(config),
        monitor=config.monitor.removeprefix("val/"),
        settings=_settings(config, None),
        history=_thinned(logged.get("history", [])),
        losses=[_losses(entry) for entry in _thinned(logged.get("steps", []))],
        nonfinite=found,
        failure=str(failure),
        missing=missing,
    )


def paired_gains(model: Evaluation, other: Evaluation, directions: Mapping[str, str]) -> Measures:
    """Return by how much `model` is better than `other` in each metric of `directions`, paired."""
    gains = {}
    for name, interval in model.differences(other).items():
        if name in directions:
            sign = 1 if directions[name] == "max" else -1
            low, high = sorted((sign * interval.low, sign * interval.high))
            gains[name] = Measure(sign * interval.value, low, high)
    return gains


def _measures(metrics: dict[str, dict[str, float]]) -> Measures:
    return {name: Measure(**entry) for name, entry in metrics.items()}


def _intervals(intervals: dict[str, Interval]) -> Measures:
    return {
        name: Measure(interval.value, interval.low, interval.high) for name, interval in intervals.items()
    }


def _training(evaluation: Evaluation) -> Measures:
    """Return the metrics on training rows; a few resamples are enough for what they are compared with."""
    return _intervals(evaluation.intervals(num_resamples=200))


def _settings(config: DictConfig, module: TaskModule | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for group, names in KEPT.items():
        node = config.get(group)
        for name in names if node else ():
            if name in node:
                value = node[name]
                values[f"{group}.{name}"] = (
                    OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
                )
    for group in ("model", "optim", "loss"):
        values[group] = str(config[group]._target_).rpartition(".")[2]
    for part, node in (config.get("regularization") or {}).items():
        if node and "strength" in node:
            values[f"regularization.{part}.strength"] = node["strength"]
    values["checkpoint"] = config.get("checkpoint", "best")
    default = DEFAULT_LOSSES.get(config.shape)
    values["default_loss"] = default
    if module is not None:
        values["classes"] = module.spec.num_classes
    return values


def _calibration(module: TaskModule, measured: dict[str, dict[str, dict[str, float]]]) -> Calibration | None:
    """Fit a temperature on the validation rows, and measure on the test rows what it gains."""
    val, test = module.collected.get("val"), module.collected.get("test")
    error = measured.get("test", {}).get("ece")
    if module.task not in ("binary", "multiclass") or error is None:
        return None
    if not isinstance(val, PointOutputs) or not isinstance(test, PointOutputs):
        return None
    temperature = fit_temperature(val.output, val.target)
    gains = _log_losses(test.output, test.target) - _log_losses(test.output / temperature, test.target)
    half = 1.96 * float(np.std(gains)) / math.sqrt(len(gains))
    mean = float(np.mean(gains))
    return Calibration(
        temperature=temperature,
        gain=Measure(mean, mean - half, mean + half),
        error=Measure(**error),
        null=measured["test"]["ece_null"]["value"],
    )


def _log_losses(logits: torch.Tensor, target: torch.Tensor) -> np.ndarray:
    logits, target = logits.double().cpu(), target.cpu()
    if logits.ndim == 1:
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, target.double(), reduction="none"
        )
    else:
        losses = torch.nn.functional.cross_entropy(logits, target.long(), reduction="none")
    array: np.ndarray = losses.numpy()
    return array


def _losses(entry: dict[str, float]) -> dict[str, float]:
    names = ("step", "train/loss", "gradient/norm", "gradient/clipped_share")
    return {name: entry[name] for name in names if name in entry}


def _thinned(entries: list[dict[str, float]]) -> list[dict[str, float]]:
    if len(entries) <= MAX_ENTRIES:
        return list(entries)
    return [entries[int(index)] for index in np.linspace(0, len(entries) - 1, MAX_ENTRIES).round()]
