"""Measures what single columns tell: of the target by themselves, by numbering the rows, by naming who a row is of."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from scipy import stats

from lit_mlfund.diagnostics.measures.data_evidence import Overlap, Strength
from lit_mlfund.diagnostics.measures.interval import Measure, mean
from lit_mlfund.diagnostics.measures.probe import CrossFit, folds_of
from lit_mlfund.diagnostics.measures.rows import Rows, Sample, floor_loss

ROWS_PER_BIN = 20
MOST_BINS = 100
STRONG = 0.5  # skill of one feature from which the others are asked what they tell together
COUNTING = 0.999  # correlation of a column with the number of the row, from which it counts rows
FEWEST_VALUES = 20  # of an identifier
NAMES = "id|ids|uuid|user|users|customer|client|patient|subject|person|session|account|member|device"
NAMED = re.compile(rf"(^|_| )({NAMES})$")
MOST_CANDIDATES = 2
LEAST_SEEN = 0.2  # of the test rows, whose value of an identifier occurs in training


def strengths(sample: Sample) -> list[Strength]:
    """Return what each feature tells by itself, the strongest first; of a strong one also what all others tell."""
    train = sample.rows["train"]
    names = {name: j for j, name in enumerate(sample.names)}
    found = [Strength(name, _skill(*_losses(train, j, sample))) for name, j in names.items()]
    found.sort(key=lambda strength: -strength.skill.value)
    if found and found[0].skill.value >= STRONG and len(names) > 1:
        first = found[0]
        own = (names[first.column], *_same(train.x, names[first.column]))
        others = 0.0
        if len(own) < len(names):
            without = CrossFit(sample, folds_of(train), without=own)
            others = 1 - float(without.losses.mean()) / floor_loss(train.y, sample.num_classes)
        found[0] = Strength(first.column, first.skill, others, _separation(sample, own[0]))
    return found[:5]


def _separation(sample: Sample, column: int) -> float:
    """Return how far classes lie apart in a feature: .64 where a normal one is cut in halves, .75 in its ranks."""
    train = sample.rows["train"]
    if sample.categorical[column] or sample.num_classes == 0:
        return 1.0
    shares = []
    for values in (train.x[:, column], stats.rankdata(train.x[:, column])):
        rows = np.bincount(train.y)
        centers = np.bincount(train.y, values) / np.maximum(rows, 1)
        shares.append(float((rows * (centers - values.mean()) ** 2).sum() / (len(values) * values.var())))
    return max(shares)


def _same(x: np.ndarray, column: int) -> tuple[int, ...]:
    """Return the columns that are the given one again, up to a factor, such as another unit of it."""
    own = x[:, column]
    if own.std() == 0:
        return ()
    spread = x.std(0)
    covariance = ((x - x.mean(0)) * (own - own.mean())[:, None]).mean(0)
    same = np.abs(covariance) > 0.9999 * spread * own.std()
    return tuple(j for j in np.flatnonzero(same & (spread > 0)).tolist() if j != column)


def _skill(lost: np.ndarray, constant: np.ndarray) -> Measure:
    """Return the share of the constant's loss that is saved; the interval is that of what is left."""
    left = mean(lost).over(max(float(constant.mean()), 1e-12))
    return Measure(1 - left.value, 1 - left.high, 1 - left.low)


def _losses(train: Rows, column: int, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses `[N]` of bins of one column, and of a constant, both fitted on other rows."""
    x, y, num_classes = train.x[:, column], train.y, sample.num_classes
    if sample.categorical[column]:
        bins = x.astype(int)
    else:
        count = int(np.clip(len(x) // ROWS_PER_BIN, 2, MOST_BINS))
        bins = np.searchsorted(np.unique(np.quantile(x, np.linspace(0, 1, count + 1)[1:-1])), x)
    fold = np.random.default_rng(0).permutation(len(x)) % 3
    lost, constant = np.empty(len(x)), np.empty(len(x))
    for number in range(3):
        fit, held = fold != number, fold == number
        lost[held], constant[held] = _binned(bins, y, fit, held, num_classes)
        if num_classes == 0 and not sample.categorical[column]:  # bins are coarse for a straight line
            slope, offset = np.polyfit(x[fit], y[fit], 1) if np.ptp(x[fit]) > 0 else (0.0, y[fit].mean())
            line = (y[held] - slope * x[held] - offset) ** 2
            if line.mean() < lost[held].mean():
                lost[held] = line
    return lost, constant


def _binned(
    bins: np.ndarray, y: np.ndarray, fit: np.ndarray, held: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of the means by bin, and of the whole mean, on the rows that are held out."""
    size = int(bins.max()) + 1
    rows = np.bincount(bins[fit], minlength=size)
    if num_classes == 0:
        whole = y[fit].mean()
        means = (np.bincount(bins[fit], y[fit], size) + whole) / (rows + 1)
        return (y[held] - means[bins[held]]) ** 2, (y[held] - whole) ** 2
    labels = y.astype(int)
    share = (np.bincount(labels[fit], minlength=num_classes) + 0.5) / (fit.sum() + 0.5 * num_classes)
    table = np.zeros((size, num_classes))
    np.add.at(table, (bins[fit], labels[fit]), 1)
    probability = (table + share) / (rows + 1)[:, None]
    return -np.log(probability[bins[held], labels[held]]), -np.log(share[labels[held]])


def counters(sample: Sample) -> Iterator[Strength]:
    """Yield the features that are whole numbers, all different, and rise or fall with the row of the file."""
    train = sample.rows["train"]
    for column in sample.features:
        values = train.columns.get(column)
        if values is None or values.dtype.kind != "f" or column not in sample.names or np.isnan(values).any():
            continue
        if (values % 1 != 0).any() or len(np.unique(values)) < len(values) or len(values) < 10:
            continue
        if abs(float(np.corrcoef(values, train.index)[0, 1])) >= COUNTING:
            lost, constant = _losses(train, sample.names.index(column), sample)
            yield Strength(column, mean(constant - lost).over(max(float(constant.mean()), 1e-12)))


def overlaps(sample: Sample, fit: CrossFit, floor: float) -> Iterator[Overlap]:
    """Yield identifiers that occur in training and test, with what it costs to hold out rows of a value together."""
    train, test = sample.rows["train"], sample.rows["test"]
    candidates = []
    for column in sample.identifiers:
        codes = train.columns[column].astype(str)
        if column in sample.features and not NAMED.search(column.lower()):
            continue  # a category that recurs, and is there to be learned
        values = len(set(codes))
        if values < FEWEST_VALUES or values > 0.7 * len(codes):
            continue
        share = float(np.mean(np.isin(test.columns[column].astype(str), codes)))
        if share >= LEAST_SEEN:
            candidates.append((NAMED.search(column.lower()) is None, -values, column, share))
    for _, values, column, share in sorted(candidates)[:MOST_CANDIDATES]:
        codes = train.columns[column].astype(str)
        grouped = CrossFit(sample, folds_of(train, codes))
        mixed = fit.losses
        if train.time is not None:  # blocks of time hold out rows of a value together, too
            mixed = CrossFit(sample, np.random.default_rng(0).permutation(len(train)) % 3).losses
        rise = mean(grouped.losses - mixed, groups=codes).over(floor)
        yield Overlap(column, -values, share, len(train) / -values, rise)
