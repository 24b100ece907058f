"""Holds a value with the ends of its confidence interval, from resamples of it; needs numpy alone.

The module lies outside the folders because runs are compared, too, where torch is not imported.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """Holds the value of a metric on all rows and the ends of its confidence interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return `{"value", "low", "high"}`; NaN stays NaN."""
        return asdict(self)


def percentile_interval(value: float, resampled: np.ndarray, level: float = 0.95) -> Interval:
    """Return the percentile interval of `resampled` around `value`; the ends are NaN where the value is.

    Resamples that are NaN are left out. Source: Efron and Tibshirani 1993, ch. 13.
    """
    defined = resampled[~np.isnan(resampled)]
    if math.isnan(value) or not len(defined):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(value, low, high)
