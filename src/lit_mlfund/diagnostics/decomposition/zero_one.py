"""Splits the 0/1 loss of a training procedure into noise, bias and variance, as Domingos (2000) defines them.

The main prediction of a row is the class that most replicas predict. Bias is the loss of the main prediction, variance
is that of the replicas against it: it *raises* the loss where the main prediction is right, and *lowers* it where the
main prediction is wrong and the replica is right, so that its parts have signs. The main prediction that a replica is
held against comes from the other parts of the training rows alone: one that it votes for itself, it meets too often.
"""

from __future__ import annotations

import numpy as np

from lit_mlfund.diagnostics.decomposition.convex import (
    DATA,
    INITIALISATION,
    NEEDS_TWO,
    REST,
    TOTAL,
    VARIANCE,
    Array,
    Parts,
    interval,
)
from lit_mlfund.diagnostics.evidence import Measure

UNBIASED, BIASED = "variance_unbiased", "variance_biased"


def zero_one(
    label_KRN: Array, target_N: Array, *, noise: float | None = None, weight: Array | None = None
) -> Parts:
    """Split the error rate.

    `variance` is `variance_unbiased − variance_biased`, and total = noise + bias + variance. The share of
    initialisation is the disagreement of two replicas of the same rows, over that of two replicas of different rows.

    Args:
        label_KRN: predicted class numbers of K parts of the training rows, R initialisations and N test rows.
        target_N: class numbers.
        noise: share of targets that are flipped (two classes); None leaves noise and bias together.
        weight: `[N]`, of the rows.

    Raises:
        ValueError: noise is known with more than two classes, or not below one half.
    """
    label, target = np.asarray(label_KRN), np.asarray(target_N)
    if label.ndim != 3 or len(label) < 2:
        raise ValueError(NEEDS_TWO.format(label.shape))
    num_classes = int(max(label.max(), target.max(), 1)) + 1
    if noise is not None and (num_classes > 2 or not 0 <= noise < 0.5):
        raise ValueError(f"noise of 0/1 targets must be below 0.5, of two classes; got {noise}")
    num_parts, num_starts, _ = label.shape
    votes = np.stack([(label == number).sum(1) for number in range(num_classes)], axis=-1)  # [K, N, C]
    others = votes.sum(0) - votes
    main = others.argmax(-1)
    wrong, differs = main != target, label != main[:, None]
    unbiased = (differs & ~wrong[:, None]).mean(1)  # [K, N]
    biased = ((label == target) & wrong[:, None]).mean(1)
    bias = wrong.astype(np.float64)
    total = (label != target).mean(1)
    flipped = np.zeros_like(bias)
    if noise is not None:
        sure = 1 - 2 * noise
        unbiased, biased = (
            ((1 - noise) * unbiased - noise * biased) / sure,
            ((1 - noise) * biased - noise * unbiased) / sure,
        )
        bias = (bias - noise) / sure
        flipped = total - (bias + unbiased - biased)
    values = {
        TOTAL: total,
        REST: bias + flipped,
        VARIANCE: unbiased - biased,
        UNBIASED: unbiased,
        BIASED: biased,
    }
    values |= {"bias": bias, "noise": flipped} if noise is not None else {}
    weight = np.ones(label.shape[2]) if weight is None else np.asarray(weight, dtype=np.float64)
    parts: Parts = {name: _measure(by_part, weight) for name, by_part in values.items()}
    if noise is None:
        rest = parts[REST]
        assert rest is not None
        parts |= {"noise": Measure(np.nan, 0.0, rest.high), "bias": Measure(np.nan, 0.0, rest.high)}
    if num_starts < 2:
        return parts | {DATA: None, INITIALISATION: None}
    same = 1 - (votes * (votes - 1)).sum(-1) / (num_starts * (num_starts - 1))
    different = 1 - (votes * others).sum(-1) / (num_starts**2 * (num_parts - 1))
    share = _mean(same.mean(0), weight) / max(_mean(different.mean(0), weight), 1e-300)
    net = values[VARIANCE]
    without = [_leave_one_out(by_part @ weight / weight.sum()) for by_part in (net, same, different)]
    left_out = without[0] * without[1] / np.maximum(without[2], 1e-300)
    value, variance = _mean(net.mean(0), weight), parts[VARIANCE]
    assert variance is not None
    start = share * value
    half = interval(share * net.mean(0), weight, left_out)
    other = interval((1 - share) * net.mean(0), weight, without[0] - left_out)
    parts[INITIALISATION] = Measure(start, start - half, start + half)
    parts[DATA] = Measure(value - start, value - start - other, value - start + other)
    return parts


def _measure(by_part_KN: Array, weight: Array) -> Measure:
    rows = by_part_KN.mean(0)
    value = _mean(rows, weight)
    half = interval(rows, weight, _leave_one_out(by_part_KN @ weight / weight.sum()))
    return Measure(value, value - half, value + half)


def _mean(rows_N: Array, weight: Array) -> float:
    return float((weight * rows_N).sum() / weight.sum())


def _leave_one_out(values_K: Array) -> Array:
    return (values_K.sum() - values_K) / (len(values_K) - 1)
