"""Splits the expected loss of a training procedure into noise, bias and variance, from replicas of the training.

Replicas are trained on K disjoint parts of the training rows, R times on each part, and evaluated on the same test
rows. Losses with logits or values `s` have the form `constant − ⟨target, s⟩ + A(s)` with a convex potential `A`:
`s²` for the squared error, a log-sum-exp for cross-entropies. Their central model has the mean `s` (for cross-entropy
that is the normalised geometric mean of the probabilities: Heskes, 1998), the variance is the mean of `A(s)` minus `A`
of that mean, and the rest is bias and noise. `A` of a mean of K replicas is too large by its own variance; the
jackknife removes that, exactly for the squared error and to second order else.

Every function returns parts that sum to the total: total = noise + bias + variance, variance = variance_data +
variance_initialisation. Intervals of 95 % combine the jackknife over parts with the spread over test rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.special import logsumexp
from scipy.stats import t as student

from lit_mlfund.diagnostics.evidence import Measure

Array = np.ndarray
Parts = dict[str, Measure | None]
CHUNK = 2**21  # numbers of all replicas that are looked at together
TOTAL, REST, VARIANCE = "total", "noise_and_bias", "variance"
DATA, INITIALISATION = "variance_data", "variance_initialisation"
NEEDS_TWO = "a decomposition needs at least two parts of the training rows, got {}"


def squared_error(
    prediction_KRN: Array, target_N: Array, *, noise: float | None = None, weight: Array | None = None
) -> Parts:
    """Split the mean squared error; `noise` is the variance of the target's noise where it is known.

    Args:
        prediction_KRN: of K parts of the training rows, R initialisations and N test rows.
        target_N: targets with noise, or without (`noise=0`).
        noise: part of the rest that is not bias; None leaves noise and bias together.
        weight: `[N]`, of the rows.
    """
    prediction, target = _replicas(prediction_KRN, 3), np.asarray(target_N, dtype=np.float64)
    sums = _Sums(prediction.shape[0])
    for rows in _chunks(prediction):
        y = target[rows]
        sums.add(prediction[:, :, rows], np.square, partial(np.multiply, 2 * y), y**2, _of(weight, rows))
    return _with_noise(sums.parts(), noise)


def cross_entropy(
    logits_KRNC: Array, target_N: Array, *, noise: float | None = None, weight: Array | None = None
) -> Parts:
    """Split the mean cross-entropy; the arguments are those of `squared_error`.

    Args:
        logits_KRNC: C logits, or `[K, R, N]` those of the positive class.
        target_N: class numbers.
        noise: mean entropy of the target given the features.
        weight: `[N]`, of the rows.
    """
    logits = np.asarray(logits_KRNC)
    if logits.ndim == 3:
        logits = np.stack([np.zeros_like(logits), logits], axis=-1)
    logits, target = _replicas(logits, 4), np.asarray(target_N).astype(np.int64)
    sums = _Sums(logits.shape[0])
    for rows in _chunks(logits):
        y = target[rows]
        chosen = (y[:, None] == np.arange(logits.shape[-1])).astype(np.float64)
        sums.add(logits[:, :, rows], _log_sum, partial(_product, chosen), 0.0 * y, _of(weight, rows))
    return _with_noise(sums.parts(), noise)


def listnet(scores_KRQL: Array, relevance_QL: Array, mask_QL: Array) -> Parts:
    """Split ListNet's loss, averaged over queries: cross-entropy of softmax(relevance) with softmax(scores).

    The noise is known: it is the entropy of softmax(relevance).
    """
    scores, mask = _replicas(scores_KRQL, 4), np.asarray(mask_QL, dtype=bool)
    log_target = np.where(mask, np.asarray(relevance_QL, dtype=np.float64), -np.inf)
    log_target = log_target - logsumexp(log_target, axis=-1, keepdims=True)
    target = np.exp(log_target)
    entropy = -(target * np.where(mask, log_target, 0.0)).sum(-1)
    sums = _Sums(scores.shape[0])
    for rows in _chunks(scores):
        m, t = mask[rows], target[rows]
        sums.add(scores[:, :, rows], partial(_log_sum, mask=m), partial(_product, t), np.zeros(len(t)), None)
    return _with_noise(sums.parts(), entropy)


def pairwise(scores_KRQL: Array, relevance_QL: Array, mask_QL: Array) -> Parts:
    """Split the logistic loss of a query's ordered pairs, averaged over the queries that have one.

    Raises:
        ValueError: no query has two documents of different relevance.
    """
    scores, relevance = _replicas(scores_KRQL, 4), np.asarray(relevance_QL, dtype=np.float64)
    sums = _Sums(scores.shape[0])
    for query, real in enumerate(np.asarray(mask_QL, dtype=bool)):
        grades, own = relevance[query, real], scores[:, :, query, real]
        better, worse = np.nonzero(grades[:, None] > grades)
        for_query = own[..., better] - own[..., worse]
        if len(better):
            equal = np.full(len(better), 1 / len(better))
            sums.add(for_query[:, :, None], _mean_softplus, partial(_product, equal), np.zeros(1), None)
    if not sums.rows:
        raise ValueError("no query has two documents of different relevance")
    return _with_noise(sums.parts(), None)


def _log_sum(scores: Array, mask: Array | bool = True) -> Array:
    total: Array = logsumexp(np.where(mask, scores, -np.inf), axis=-1)
    return total


def _mean_softplus(differences: Array) -> Array:
    mean: Array = np.logaddexp(0, differences).mean(-1)
    return mean


def _product(target: Array, scores: Array) -> Array:
    product: Array = (target * scores).sum(-1)
    return product


def _with_noise(parts: Parts, noise: float | Array | None) -> Parts:
    """Add noise and bias: numbers where the noise is known, else bounds, as neither is negative."""
    rest = parts[REST]
    assert rest is not None
    if noise is None:
        bound = Measure(math.nan, 0.0, max(rest.high, 0.0))
        return parts | {"noise": bound, "bias": bound}
    value = float(np.mean(noise))
    half = 0.0 if isinstance(noise, float | int) else interval(noise, None, None)
    known = Measure(value, value - half, value + half)
    return parts | {
        "noise": known,
        "bias": Measure(rest.value - value, rest.low - value, rest.high - value),
    }


def interval(rows_N: Array, weight: Array | None, left_out_K: Array | None) -> float:
    """Return half the width of a 95 % interval of a weighted mean over rows, each computed from K parts.

    Args:
        rows_N: values by row.
        weight: `[N]`, of the rows.
        left_out_K: the mean without each part; None for values that do not depend on the parts.
    """
    weight = np.ones(len(rows_N)) if weight is None else np.asarray(weight, dtype=np.float64)
    total, degrees = weight.sum(), max(int(np.count_nonzero(weight)) - 1, 1)
    mean = (weight * rows_N).sum() / total
    variance = ((weight * (rows_N - mean)) ** 2).sum() / total**2 * ((degrees + 1) / degrees)
    if left_out_K is not None:
        num_parts = len(left_out_K)
        variance += (num_parts - 1) / num_parts * ((left_out_K - left_out_K.mean()) ** 2).sum()
        degrees = num_parts - 1
    return float(student.ppf(0.975, degrees) * math.sqrt(variance))


@dataclass
class _Sums:
    """Collects the parts of a loss row by row, and their means without each part of the training rows."""

    num_parts: int
    rows: list[dict[str, Array]] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)
    left_out: dict[str, Array] = field(default_factory=dict)

    def add(
        self,
        scores: Array,
        potential: Callable[[Array], Array],
        inner: Callable[[Array], Array],
        constant: Array,
        weight: Array | None,
    ) -> None:
        """Add rows: `scores [K, R, n, …]`; `potential` and `inner` map `[…, n, …]` to `[…, n]`."""
        num_parts, num_starts = scores.shape[:2]
        by_part = scores.mean(1)
        central = by_part.mean(0)
        without = (num_parts * central - by_part) / (num_parts - 1)
        expected = potential(scores).mean(1)  # [K, n]: of each part's replicas
        plain = potential(by_part)
        if num_starts > 1:
            others = (num_starts * by_part[:, None] - scores) / (num_starts - 1)
            within = num_starts * plain - (num_starts - 1) * potential(others).mean(1)
        else:
            within = plain
        centre_without = potential(without)
        centre = num_parts * potential(central) - (num_parts - 1) * centre_without.mean(0)
        start = constant - inner(central)
        rows = {
            TOTAL: start + expected.mean(0),
            REST: start + centre,
            VARIANCE: expected.mean(0) - centre,
            DATA: within.mean(0) - centre,
            INITIALISATION: (expected - within).mean(0),
        }
        weight = np.ones(len(start)) if weight is None else weight
        mean, mean_within = _leave_one_out(expected), _leave_one_out(within)
        start_without = constant - inner(without)
        left_out = {
            TOTAL: start_without + mean,
            REST: start_without + centre_without,
            VARIANCE: mean - centre_without,
            DATA: mean_within - centre_without,
            INITIALISATION: mean - mean_within,
        }
        for name, values in left_out.items():
            self.left_out[name] = self.left_out.get(name, 0.0) + values @ weight
        self.rows.append(rows)
        self.weights.append(weight)
        self.num_starts = num_starts

    def parts(self) -> Parts:
        """Return the means with their intervals."""
        weight = np.concatenate(self.weights)
        parts: Parts = {}
        for name in (TOTAL, REST, VARIANCE, DATA, INITIALISATION):
            if self.num_starts < 2 and name in (DATA, INITIALISATION):
                parts[name] = None
                continue
            rows = np.concatenate([chunk[name] for chunk in self.rows])
            value = float((weight * rows).sum() / weight.sum())
            half = interval(rows, weight, self.left_out[name] / weight.sum())
            parts[name] = Measure(value, value - half, value + half)
        return parts


def _leave_one_out(values_Kn: Array) -> Array:
    """Return for each part the mean of the others."""
    return (values_Kn.sum(0) - values_Kn) / (len(values_Kn) - 1)


def _replicas(values: Array, dimensions: int) -> Array:
    """Return the outputs in double precision; ValueError unless there are two parts of the training rows."""
    values = np.asarray(values)
    if values.ndim != dimensions or len(values) < 2:
        raise ValueError(NEEDS_TWO.format(values.shape))
    return values


def _chunks(values: Array) -> Iterator[slice]:
    """Yield slices of the third dimension, of about `CHUNK` numbers each."""
    size = max(1, CHUNK // max(values[:, :, :1].size, 1))
    for start in range(0, values.shape[2], size):
        yield slice(start, start + size)


def _of(weight: Array | None, rows: slice) -> Array | None:
    return None if weight is None else np.asarray(weight, dtype=np.float64)[rows]
