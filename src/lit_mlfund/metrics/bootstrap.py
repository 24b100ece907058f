"""Values of a task's metrics with bootstrap intervals over its rows.

Resampling rows with replacement is the same as counting how often each row is drawn, so every metric here is
a function of row counts: all ones for the value itself, multinomial counts for a resample. A metric of
weighted means then costs one matrix product for a block of resamples, a curve one weighted cumulative sum
over rows that were sorted once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

Measure = Callable[[np.ndarray], dict[str, np.ndarray]]
_BLOCK = 1 << 18  # counts held at a time: 2 MB, which stay in the cache


@dataclass(frozen=True)
class Interval:
    """A metric's value on the given rows and the ends of its confidence interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """`{"value", "low", "high"}`; NaN stays NaN."""
        return asdict(self)


class Evaluation:
    """Every metric of a task, from predictions of `num_rows` rows (queries, for ranking and retrieval).

    `measure` takes row counts `[R, num_rows]` and returns each metric's value under each of the R counts.
    `exact` are numbers that no resampling concerns; their interval is the number itself. Metrics in
    `biased` grow when rows repeat (a calibration error: repeated rows look like more evidence); their
    resamples are shifted to have the value as their mean, and cut off at 0.
    """

    def __init__(
        self,
        num_rows: int,
        measure: Measure,
        exact: dict[str, float] | None = None,
        biased: tuple[str, ...] = (),
    ) -> None:
        self.num_rows = num_rows
        self._measure = measure
        self._exact = dict(exact or {})
        self._biased = biased

    def values(self) -> dict[str, float]:
        """Every metric on the rows as they are; NaN where it is not defined (AUROC of one class)."""
        measured = self._measured(np.ones((1, self.num_rows)))
        return {name: float(value[0]) for name, value in measured.items()} | self._exact

    def resamples(self, num_resamples: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
        """Every metric on each bootstrap resample, `[num_resamples]`.

        Evaluations of the same rows in the same order draw the same resamples from the same seed: the
        differences of two models' resamples are those of a paired comparison.
        """
        if num_resamples < 1:
            raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
        blocks = [self._measured(counts) for counts in self._counts(num_resamples, seed)]
        drawn = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
        values = self.values()
        for name in self._biased:
            drawn[name] = np.maximum(drawn[name] - drawn[name].mean() + values[name], 0)
        return drawn

    def intervals(self, num_resamples: int = 1000, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
        """Every metric with its percentile bootstrap interval; NaN ends where the value is NaN.

        Resamples on which a metric is not defined are left out. Source: Efron and Tibshirani 1993, ch. 13.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level}")
        drawn = self.resamples(num_resamples, seed)
        tails = [(1 - level) / 2, (1 + level) / 2]
        result = {}
        for name, value in self.values().items():
            low = high = math.nan
            if name in self._exact:
                low = high = value
            elif not math.isnan(value):
                defined = drawn[name][~np.isnan(drawn[name])]
                low, high = np.quantile(defined, tails).tolist() if len(defined) else (math.nan, math.nan)
            result[name] = Interval(value, low, high)
        return result

    def _measured(self, counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(divide="ignore", invalid="ignore"):  # not defined on these counts: NaN
            return self._measure(counts_RN)

    def _counts(self, num_resamples: int, seed: int) -> Iterator[np.ndarray]:
        """Blocks of multinomial counts; the draws do not depend on the size of the blocks."""
        generator = np.random.default_rng(seed)
        size = max(1, _BLOCK // self.num_rows)
        for start in range(0, num_resamples, size):
            counts = np.empty((min(size, num_resamples - start), self.num_rows))
            for row in counts:
                drawn = generator.integers(0, self.num_rows, self.num_rows)
                row[:] = np.bincount(drawn, minlength=self.num_rows)
            yield counts
