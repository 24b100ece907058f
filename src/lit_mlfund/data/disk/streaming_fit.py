"""Fits the preprocessing of a table larger than memory on its training rows, in two passes at most."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from lit_mlfund.data.disk.assign_splits import SplitAssigner
from lit_mlfund.data.preprocessing.features import CategoricalColumn
from lit_mlfund.data.preprocessing.label_counts import LabelCounts
from lit_mlfund.data.preprocessing.table_encoder import Encoder, Roles
from lit_mlfund.data.preprocessing.target import Target, refuse_missing
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.scan import Scan
from lit_mlfund.data.reading.split import SPLITS
from lit_mlfund.data.reading.table import Table, join

SAMPLE = 2**22  # cells that numeric columns are fitted on
MAX_PARTS = 32  # tables of the sample: many small ones would take more memory than their rows
SAMPLE_ROWS = (2**13, 2**17)  # least and greatest target size of the sample, whatever the width
TRAIN = SPLITS.index("train")


@dataclass(frozen=True)
class FittedScan:
    """Holds an encoder, and on how many of the training rows its numeric columns were fitted."""

    encoder: Encoder
    sample: int
    rows: int


def fit_scan(
    scan: Scan, split_of: SplitAssigner, roles: Roles, *, positive: str | None = None, min_count: int = 5
) -> FittedScan:
    """Fit on the training rows of `scan` in bounded memory.

    Numeric columns and dates are fitted on a random sample of `SAMPLE` to twice as many cells, the target and the
    vocabularies of categories on all. Where the sample holds all training rows, the encoder equals that of
    `Encoder.fit` on the same rows. The memory holds the sample, and the labels of each category with their counts;
    text that is different in every row of the sample is left out without being counted.

    Raises:
        DataError: as `Encoder.fit` does.
    """
    sample, target = _first_pass(scan, split_of, roles, positive)
    encoder = Encoder.fit(sample.table, roles, positive=positive, min_count=min_count, target=target)
    if len(sample.table) < sample.seen:
        encoder = _recount(scan, split_of, encoder, sample.table, min_count)
    return FittedScan(encoder, len(sample.table), sample.seen)


class _Sample:
    """Draws rows from those that are added, each with the same probability, without knowing their final number."""

    def __init__(self, width: int) -> None:
        self.least = min(max(SAMPLE // width, SAMPLE_ROWS[0]), SAMPLE_ROWS[1])
        self.parts: list[Table] = []
        self.size = self.seen = 0
        self.threshold = 1.0

    def add(self, rows: Table) -> None:
        self.seen += len(rows)
        self.parts.append(self._draw(rows))
        self.size += len(self.parts[-1])
        while self.size > 2 * self.least:
            self.threshold /= 2
            self.parts = [self._draw(table) for table in self.parts]
            self.size = sum(map(len, self.parts))
        if len(self.parts) > MAX_PARTS:
            self.parts = [self.table]

    def _draw(self, rows: Table) -> Table:
        if self.threshold == 1:
            return rows
        keep = np.flatnonzero(_uniform(rows.rows, seed=0x5A3B1E) < self.threshold)
        return Table(rows.frame[keep], rows.source, rows.rows[keep])

    @property
    def table(self) -> Table:
        rows = join(*self.parts)
        return Table(rows.frame.rechunk(), rows.source, rows.rows)


class _Moments:
    """Accumulates number, mean and variance of the values that are added (Chan, Golub & LeVeque 1983)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        count, mean = len(values), float(values.mean())
        total, step = self.count + count, mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + step**2 * self.count * count / total
        self.mean += step * count / total
        self.count = total


def _first_pass(
    scan: Scan, split_of: SplitAssigner, roles: Roles, positive: str | None
) -> tuple[_Sample, Target]:
    """Return a sample of the training rows, and the target fitted on all of them."""
    sample, moments = _Sample(len(scan.schema)), _Moments()
    extremes: Table | None = None
    left_out = set(roles.exclude) - set(split_of.columns)
    needed = [name for name in scan.schema if name not in left_out]
    for piece in scan.pieces(needed):
        refuse_missing(piece, roles.target)
        train = _train(piece, split_of)
        if len(train):
            sample.add(train)
            if roles.task == "regression" and np.isfinite(values := train.numbers(roles.target)).all():
                moments.add(values)
            extremes = _extremes(train if extremes is None else join(extremes, train), roles)
    if extremes is None:
        raise DataError(f"{scan.path}: the train split is empty")
    target = Target.fit(extremes, roles.target, roles.task, positive)
    if roles.task == "regression":
        target = dataclasses.replace(
            target, mean=moments.mean, std=float(np.sqrt(moments.squares / moments.count))
        )
    return sample, target


def _extremes(table: Table, roles: Roles) -> Table:
    """Select rows that suffice to fit a target: one of each class, or the least, the greatest and a missing one."""
    column = table.frame[roles.target]
    if roles.task == "regression":
        values = table.numbers(roles.target)
        index = np.unique([values.argmin(), values.argmax()])  # both are the first NaN, where there is one
    else:
        index = column.is_first_distinct().arg_true().to_numpy()
    return Table(table.frame[index], table.source, table.rows[index])


def _recount(scan: Scan, split_of: SplitAssigner, encoder: Encoder, sample: Table, min_count: int) -> Encoder:
    """Rebuild the vocabularies of categorical columns from all training rows."""
    features = encoder.features
    known = {column.name for column in features.categorical}
    rare = [name for name, reason in features.dropped.items() if reason.startswith("no value occurs")]
    names = [name for name in sample.frame.columns if name in known or name in rare]
    if not names:
        return encoder
    counts = {name: LabelCounts() for name in names}
    for piece in scan.pieces([*names, *split_of.columns]):
        train = _train(piece, split_of)
        for name, labels in counts.items():
            labels.add(train.labels(name))
    categorical, dropped = [], dict(features.dropped)
    for name in names:
        column = CategoricalColumn.from_counts(name, counts[name].table(), min_count)
        if isinstance(column, str):
            dropped[name] = column
        else:
            dropped.pop(name, None)
            categorical.append(column)
    features = dataclasses.replace(features, categorical=tuple(categorical), dropped=dropped)
    return dataclasses.replace(encoder, features=features)


def _train(piece: Table, split_of: SplitAssigner) -> Table:
    rows = np.flatnonzero(split_of(piece) == TRAIN)
    return piece.take(rows, "train")


def _uniform(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Draw float64 `[n]` in 0 … 1, one for each number whatever its neighbours (splitmix64; Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        state = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state += np.uint64((seed * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        return ((state ^ (state >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
