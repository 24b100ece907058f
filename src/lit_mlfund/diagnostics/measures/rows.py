"""Holds sampled rows of the splits of a data set, as a model sees them and as they stand in the file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Rows:
    """Holds N rows of a split.

    x        `[N, F]` what the model sees: standardised numbers, and codes of categories
    y        `[N]` targets: standardised values, or numbers of classes
    index    `[N]` rows of the file
    columns  column of the file -> `[N]` numbers with NaN, or labels with None
    time     `[N]` moment of each row, where the split follows one
    group    `[N]` number of what the row belongs to, where the split keeps that together
    """

    x: np.ndarray
    y: np.ndarray
    index: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    time: np.ndarray | None = None
    group: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Fingerprints:
    """Holds a number for each row of a split that is equal where all inputs are.

    exact, near  `[N]`; `near` has one column for each way of rounding: rows are near where any of them is equal
    index        `[N]` rows of the file
    y            `[N]` targets, as in `Rows`
    """

    exact: np.ndarray
    near: np.ndarray
    index: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Predictions:
    """Holds what the trained model says of rows: logits `[N]` or `[N, K]`, or standardised values `[N]`."""

    index: np.ndarray
    output: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Sample:
    """Holds what the measurements need of a data set; what is empty or None is not known.

    by           what the split follows: time, group, rows or files
    names        `[F]` names of the columns of `Rows.x`
    categorical  `[F]` which of them are codes
    num_classes  of a classification, 0 for a regression
    scale        by which targets were divided, for messages
    features     columns of the file that the model sees
    moving       columns of `Rows.x` that follow the time of the split, and so move by construction
    identifiers  columns of `Rows.columns` whose values may be those of a person or thing
    predictions  split -> what the trained model says
    """

    task: str
    by: str
    rows: dict[str, Rows]
    names: tuple[str, ...] = ()
    categorical: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    num_classes: int = 0
    features: tuple[str, ...] = ()
    moving: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    fingerprints: dict[str, Fingerprints] = field(default_factory=dict)
    predictions: dict[str, Predictions] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)


def losses(output: np.ndarray, y: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the loss of each row `[N]`: squared error, or log loss of logits `[N]` or `[N, K]`."""
    if num_classes == 0:
        squared: np.ndarray = (output - y) ** 2
        return squared
    if output.ndim == 1:
        softplus: np.ndarray = np.logaddexp(0, np.where(y == 1, -output, output))
        return softplus
    shifted = output - output.max(1, keepdims=True)
    log_loss: np.ndarray = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(y)), y.astype(int)]
    return log_loss


def floor_loss(y: np.ndarray, num_classes: int) -> float:
    """Return the mean loss of the best constant."""
    if num_classes == 0:
        return float(np.var(y))
    share = np.bincount(y.astype(int)) / max(len(y), 1)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())
