"""Compares each column of a later split with training: distribution, unit, defaults, unseen categories."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

from lit_mlfund.diagnostics.measures.data_evidence import ColumnShift, Filled, Unit, Unseen
from lit_mlfund.diagnostics.measures.interval import Measure, difference, mean
from lit_mlfund.diagnostics.measures.probe import CrossFit
from lit_mlfund.diagnostics.measures.rows import Rows, Sample

BINS = 10
MOST_LABELS = 20  # of a category, that are compared one by one; the others together
FALSE_ALARMS = 0.01  # among the columns that are called shifted
MODERATE = 0.1  # population stability index from which a shift is more than a trifle
LEAST_FACTOR = 1.5  # between two units
SHAPE = 0.25  # distance that is left once a column is divided by the factor, over the distance before
LEAST_SHARE = 0.05  # of the rows of a split with a default, or an unseen category
FEW = 50  # unaffected rows, below which affected ones are compared with training


def column_shifts(sample: Sample) -> Iterator[ColumnShift]:
    """Yield the columns whose distribution differs between training and a later split, by more than a trifle."""
    tests = [
        (split, column, *_compare(sample.rows["train"].columns[column], rows.columns[column]))
        for split, rows in sample.rows.items()
        for column in sample.features
        if split != "train" and column not in sample.moving and column in rows.columns
    ]
    rates = _false_alarms(np.array([test[2] for test in tests]))
    for (split, column, _, psi, null), rate in zip(tests, rates):
        if rate < FALSE_ALARMS and psi > max(null, MODERATE):
            yield ColumnShift(column, split, float(rate), psi, null)


def unit_changes(
    sample: Sample, shifts: list[ColumnShift], fit: CrossFit | None, floor: float
) -> Iterator[Unit]:
    """Yield shifted columns that have the shape of training once they are divided by one factor."""
    train = sample.rows["train"]
    for shift in shifts:
        before, rows = train.columns[shift.column], sample.rows[shift.split]
        now = rows.columns[shift.column]
        if before.dtype.kind != "f" or len(np.unique(now[~np.isnan(now)])) < BINS:
            continue
        factor, center, moved = _units(before, now)
        if not math.isfinite(factor) or max(factor, 1 / factor) < LEAST_FACTOR:
            continue
        _, after, null = _compare(before, (now - moved) / factor + center)
        if after > max(2 * null, SHAPE * shift.psi):
            continue
        gain = Measure(math.nan)
        if fit is not None and shift.column in sample.names:
            x = rows.x.copy()
            column = sample.names.index(shift.column)
            x[:, column] = _same_ranks(train.x[:, column], now, rows.x[:, column])
            gain = mean(fit.later(rows) - fit.later(rows, x), groups=rows.group).over(floor)
        yield Unit(shift.column, shift.split, factor, shift.psi, after, gain)


def filled_columns(sample: Sample, fit: CrossFit | None, floor: float) -> Iterator[Filled]:
    """Yield numeric columns in which many rows of a later split have one value that training hardly knows."""
    train = sample.rows["train"]
    for split, rows in sample.rows.items():
        for column in sample.features if split != "train" else ():
            now = rows.columns.get(column)
            if now is None or now.dtype.kind != "f" or column in sample.moving:
                continue
            values, counts = np.unique(now[~np.isnan(now)], return_counts=True)
            if not len(values):
                continue
            value, count = values[counts.argmax()], int(counts.max())
            share, before = count / len(now), float(np.mean(train.columns[column] == value))
            error = math.sqrt(share * (1 - share) / len(now) + before * (1 - before) / len(train)) + 1e-9
            if count < 10 or share < LEAST_SHARE or before > share / 5 or share - before < 4 * error:
                continue
            yield Filled(column, split, float(value), share, before, _cost(now == value, rows, fit, floor))


def unseen_categories(sample: Sample, fit: CrossFit | None, floor: float) -> Iterator[Unseen]:
    """Yield categories of which many rows of a later split have a value that no row of training has."""
    train = sample.rows["train"]
    for split, rows in sample.rows.items():
        for column in sample.features if split != "train" else ():
            now = rows.columns.get(column)
            if now is None or now.dtype.kind != "O":
                continue
            known = set(train.columns[column])
            new = np.array([label is not None and label not in known for label in now])
            if new.mean() >= LEAST_SHARE:
                yield Unseen(
                    column, split, float(new.mean()), str(now[new][0])[:60], _cost(new, rows, fit, floor)
                )


def _cost(affected: np.ndarray, rows: Rows, fit: CrossFit | None, floor: float) -> Measure:
    """Return how much the affected rows add to the loss of the split, compared with the others, or with training."""
    if fit is None:
        return Measure(math.nan)
    lost = fit.later(rows)
    others = lost[~affected] if (~affected).sum() >= FEW else fit.losses
    group = None if rows.group is None else rows.group[affected]
    return difference(mean(lost[affected], groups=group), mean(others)).over(floor / float(affected.mean()))


def _compare(before: np.ndarray, now: np.ndarray) -> tuple[float, float, float]:
    """Return the p-value of a difference, the population stability index, and what it exceeds once in 100."""
    a, b = _counts(before, now)
    used = a + b > 0
    a, b = a[used], b[used]
    if len(a) < 2:
        return 1.0, 0.0, 0.0
    n, m = a.sum(), b.sum()
    # half a row in each bin: an empty one is no proof that none belongs there
    p, q = (a + 0.5) / (n + 0.5 * len(a)), (b + 0.5) / (m + 0.5 * len(b))
    psi = float(((p - q) * np.log(p / q)).sum())
    null = float(stats.chi2.ppf(0.99, len(a) - 1) * (1 / n + 1 / m))
    value = float(stats.chi2_contingency(np.stack([a, b]), correction=False).pvalue)
    if before.dtype.kind == "f":
        present = before[~np.isnan(before)], now[~np.isnan(now)]
        if min(map(len, present)) > 1:
            value = min(1.0, 2 * min(value, float(stats.ks_2samp(*present, method="asymp").pvalue)))
    return value, psi, null


def _counts(before: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the rows by bin of the training values, or by label; missing cells are a bin of their own."""
    if before.dtype.kind != "f":
        labels, sizes = np.unique([str(label) for label in before], return_counts=True)
        kept = labels[np.argsort(-sizes, kind="stable")[:MOST_LABELS]]
        names = {label: number for number, label in enumerate(kept)}
        return _bincounts(
            np.array([names.get(str(label), len(kept)) for label in before]),
            np.array([names.get(str(label), len(kept)) for label in now]),
        )
    present = before[~np.isnan(before)]
    edges = (
        np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1])) if len(present) else np.zeros(0)
    )
    coded = [
        np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="left"))
        for values in (before, now)
    ]
    return _bincounts(*coded)


def _bincounts(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = int(max(a.max(initial=0), b.max(initial=0))) + 1
    return np.bincount(a, minlength=size).astype(float), np.bincount(b, minlength=size).astype(float)


def _units(before: np.ndarray, now: np.ndarray) -> tuple[float, float, float]:
    """Return the ratio of two columns' interquartile ranges, and their medians: units may differ in their zero, too."""
    a, b = (np.quantile(values[~np.isnan(values)], (0.25, 0.5, 0.75)) for values in (before, now))
    if a[2] == a[0] or b[2] == b[0]:
        return math.nan, math.nan, math.nan
    return float((b[2] - b[0]) / (a[2] - a[0])), float(a[1]), float(b[1])


def _same_ranks(before: np.ndarray, now: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return for each value of a later split the training input of the same rank; missing ones keep their input."""
    present = ~np.isnan(now)
    ranks = (stats.rankdata(now[present]) - 0.5) / present.sum()
    restored = x.copy()
    restored[present] = np.quantile(before, ranks)
    return restored


def _false_alarms(p: np.ndarray) -> np.ndarray:
    """Return for each p-value the share of false alarms among those up to it (Benjamini and Hochberg 1995)."""
    if not len(p):
        return p
    order = np.argsort(p)
    rates = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    result = np.empty(len(p))
    result[order] = np.minimum(rates, 1.0)
    return result
