"""Turns dates into numbers: a trend, and the cycles that the training split covers completely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

DAY = 86_400e6  # microseconds
# Length of a cycle in days, and how many days training must span for it to be a feature.
CYCLES = {"hour": (1.0, 2), "weekday": (7.0, 14), "day_of_year": (365.2425, 365)}


@dataclass(frozen=True)
class DateColumn:
    """Expands a date into numeric columns: `trend` in days, and sine and cosine of each of `cycles`.

    A cycle is used only if training spans it completely. The column that the split follows has no trend: by
    construction, its values in validation and test lie outside the range of training.
    """

    name: str
    trend: bool
    cycles: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, timestamps: pl.Series, trend: bool) -> Self | str:
        """Fit on a column of `Datetime("us")`; return a reason instead if it carries no information."""
        ticks = timestamps.drop_nulls().to_physical().to_numpy()
        if len(ticks) == 0:
            return "empty"
        span = (ticks.max() - ticks.min()) / DAY
        cycles = [cycle for cycle, (_, needed) in CYCLES.items() if span >= needed]
        if not (ticks % int(DAY)).any():
            cycles = [cycle for cycle in cycles if cycle != "hour"]
        if not cycles and (span == 0 or not trend):
            return "one moment only" if span == 0 else "too short a time for a cycle"
        return cls(name, trend and bool(span > 0), tuple(cycles))

    def expand(self, timestamps: pl.Series) -> Iterator[tuple[str, np.ndarray]]:
        """Yield names and float64 columns `[N]`, NaN where the date is missing."""
        days = timestamps.to_physical().cast(pl.Float64).to_numpy() / DAY
        if self.trend:
            yield f"{self.name} (days)", days
        for cycle in self.cycles:
            # 1970-01-01, day 0, was a Thursday and the first day of a year; Monday starts the week
            phase = 2 * np.pi * (days + (3 if cycle == "weekday" else 0)) / CYCLES[cycle][0]
            yield f"{self.name} ({cycle} sin)", np.sin(phase)
            yield f"{self.name} ({cycle} cos)", np.cos(phase)
