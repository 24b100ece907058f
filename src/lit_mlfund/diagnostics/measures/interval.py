"""Defines a number with its interval, and the intervals of means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z = 1.96  # standard errors on either side of a mean that hold it in 95 of 100 cases


@dataclass(frozen=True)
class Measure:
    """Holds a number and the ends of its 95 % interval; NaN where it is undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def above(self) -> bool:
        """Return whether the whole interval is above zero."""
        return self.low > 0

    @property
    def below(self) -> bool:
        """Return whether the whole interval is below zero."""
        return self.high < 0

    def to_dict(self) -> dict[str, float]:
        """Return `{"value", "low", "high"}`, for the evidence of a finding."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def over(self, unit: float) -> Measure:
        """Return the same in another unit."""
        return Measure(self.value / unit, self.low / unit, self.high / unit)


def mean(values: np.ndarray, weight: np.ndarray | None = None, groups: np.ndarray | None = None) -> Measure:
    """Return the mean of values that are independent, or whose `groups [N]` are; undefined for fewer than two."""
    weight = np.ones(len(values)) if weight is None else weight
    if len(values) < 2 or not weight.sum() > 0:
        return Measure(math.nan, math.nan, math.nan)
    share = weight / weight.sum()
    center = float(share @ values)
    parts = share * (values - center)
    if groups is not None:
        parts = np.bincount(np.unique(groups, return_inverse=True)[1], parts)
    if len(parts) < 2:
        return Measure(center)
    half = Z * math.sqrt(float((parts**2).sum()) * len(parts) / (len(parts) - 1))
    return Measure(center, center - half, center + half)


def difference(a: Measure, b: Measure) -> Measure:
    """Return a − b, for means of different rows."""
    center, half = a.value - b.value, math.hypot(a.high - a.value, b.high - b.value)
    return Measure(center, center - half, center + half)
