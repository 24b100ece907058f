"""Measures all that the rules on data read, within a few tenths of a second for each question."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from lit_mlfund.diagnostics.measures.columns import (
    column_shifts,
    filled_columns,
    unit_changes,
    unseen_categories,
)
from lit_mlfund.diagnostics.measures.data_evidence import UNKNOWN, DataEvidence
from lit_mlfund.diagnostics.measures.duplicates import duplicates
from lit_mlfund.diagnostics.measures.noise import heavy_rows, label_noise
from lit_mlfund.diagnostics.measures.probe import CrossFit, folds_of
from lit_mlfund.diagnostics.measures.rows import Predictions, Sample, floor_loss
from lit_mlfund.diagnostics.measures.single_features import counters, overlaps, strengths
from lit_mlfund.diagnostics.measures.split_cost import label_shifts, recency, split_cost

FEWEST = 60  # training rows, from which a probe is fitted
FEWEST_LATER = 20  # rows of a later split that are compared
T = TypeVar("T")


def examine(sample: Sample, seconds: float) -> DataEvidence:
    """Measure a sample of the splits; what does not begin within `seconds` is left out and said to be."""
    ends = time.process_time() + seconds
    missing = dict(sample.missing)

    def within(name: str, measure: Callable[[], T], otherwise: T) -> T:
        if time.process_time() > ends:
            missing[name] = f"the other questions took more than {seconds:.1f} s"
            return otherwise
        return measure()

    found: dict[str, Any] = {"duplicates": None}
    train = sample.rows.get("train")
    floor = 1.0 if train is None else floor_loss(train.y, sample.num_classes) or 1.0
    if train is not None:
        found |= _tables(sample, floor, within, missing)
    found["duplicates"] = within("duplicates", lambda: duplicates(sample, floor), None)
    predictions = sample.predictions or found.pop("predictions", {})
    found.pop("predictions", None)
    heavy = [heavy_rows(part, split, sample.num_classes, floor) for split, part in predictions.items()]
    return DataEvidence(
        task=sample.task,
        by=sample.by,
        rows={split: len(rows) for split, rows in sample.rows.items()},
        features=len(sample.features),
        floor=floor,
        heavy=[part for part in heavy if part is not None],
        dropped=sample.dropped,
        excluded=list(sample.excluded),
        missing=missing,
        **found,
    )


def _tables(sample: Sample, floor: float, within: Any, missing: dict[str, str]) -> dict[str, Any]:
    """Measure what needs columns: numbers and categories."""
    train = sample.rows["train"]
    later = [split for split, rows in sample.rows.items() if split != "train" and len(rows) >= FEWEST_LATER]
    small = [split for split in sample.rows if split != "train" and split not in later]
    compared = Sample(**{**sample.__dict__, "rows": {name: sample.rows[name] for name in ("train", *later)}})
    for split in small:
        missing[f"{split} rows"] = f"there are fewer than {FEWEST_LATER}"
    shifts = within("columns", lambda: list(column_shifts(compared)), [])
    fit: CrossFit | None = None
    classes = np.unique(train.y) if sample.num_classes else np.unique(train.y)[:2]
    if len(train) < FEWEST or len(classes) < 2:
        missing["costs"] = f"fewer than {FEWEST} training rows, or targets that are all the same"
    else:
        fit = within("costs", lambda: CrossFit(compared, folds_of(train)), None)
    found: dict[str, Any] = {
        "columns": shifts,
        "units": list(unit_changes(compared, shifts, fit, floor)),
        "filled": list(filled_columns(compared, fit, floor)),
        "unseen": list(unseen_categories(compared, fit, floor)),
        "labels": list(label_shifts(compared, fit, floor)),
        "counters": list(counters(compared)),
    }
    if fit is None:
        return found
    probe = fit
    found["predictions"] = {"train": Predictions(train.index, probe.held_out, train.y)}
    found["held_out"] = float(probe.losses.mean()) / floor
    found["strengths"] = within("strengths", lambda: strengths(compared), [])
    found["noise"] = within("label noise", lambda: label_noise(compared, probe), None)
    if "test" in later:
        found["costs"] = within("cost", lambda: [split_cost(compared, probe, floor, "test")], [])
        found["overlaps"] = within("groups", lambda: list(overlaps(compared, probe, floor)), [])
        if train.time is not None:
            found["recent"] = within("recency", lambda: recency(compared, floor, "test"), UNKNOWN)
    return found
