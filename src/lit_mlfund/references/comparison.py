"""Computes means over seeds with intervals, paired comparisons, and the sensitivity of a result to one setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from scipy import stats


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of `values` with its t interval; the ends are NaN for fewer than two values."""
    if not values:
        return math.nan, math.nan, math.nan
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return mean, mean - half, mean + half


def paired_interval(
    first: Mapping[str, float], second: Mapping[str, float], level: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of first − second over the keys (seeds) that both have, with its t interval.

    Runs of one seed share initial weights, order of the data and splits, so that most of their variance cancels.
    """
    shared = [key for key in first if key in second]
    differences = [first[key] - second[key] for key in shared]
    return mean_interval([value for value in differences if math.isfinite(value)], level)


def spreads(values: Mapping[tuple[str, ...], float], axis: int) -> list[float]:
    """Return the ranges of a result when one setting alone goes through its values.

    Args:
        values: the result by setting, over a full grid.
        axis: which part of the setting is varied.

    Returns:
        Largest minus smallest value, one for each combination of the other parts that has all values.
    """
    levels = [sorted({setting[part] for setting in values}) for part in range(len(next(iter(values))))]
    others = [[""] if part == axis else level for part, level in enumerate(levels)]
    ranges = []
    for rest in product(*others):
        line = [values.get((*rest[:axis], level, *rest[axis + 1 :]), math.nan) for level in levels[axis]]
        if all(map(math.isfinite, line)):
            ranges.append(max(line) - min(line))
    return ranges


def bootstrap_mean(values: Sequence[float], level: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean with its percentile bootstrap interval over 2,000 resamples."""
    if not values:
        return math.nan, math.nan, math.nan
    means = np.random.default_rng(seed).choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(np.mean(values)), float(low), float(high)
