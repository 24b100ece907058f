"""Computes metrics of a task with bootstrap intervals over its rows.

Resampling rows with replacement amounts to counting how often each row is drawn, so every metric here is a function
of row counts: all ones for the value itself, multinomial counts for a resample. A metric made of weighted means then
costs one matrix product per block of resamples, a curve one weighted cumulative sum over rows that are sorted once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lit_mlfund.interval import Interval, percentile_interval

MetricFunction = Callable[[np.ndarray], dict[str, np.ndarray]]
_BLOCK = 1 << 18  # counts per block: 2 MB, which stay in the cache


class Evaluation:
    """Computes every metric of a task on `num_rows` rows (queries, for ranking and retrieval).

    `measure` maps row counts `[R, num_rows]` to the value of each metric under each of the R counts. `exact` holds
    numbers that do not depend on resampling; their interval is the number itself. Metrics in `biased` grow when rows
    repeat (for a calibration error repeated rows look like more evidence); their resamples are shifted so that their
    mean is the value, and clipped at 0.
    """

    def __init__(
        self,
        num_rows: int,
        measure: MetricFunction,
        exact: dict[str, float] | None = None,
        biased: tuple[str, ...] = (),
    ) -> None:
        self.num_rows = num_rows
        self._measure = measure
        self._exact = dict(exact or {})
        self._biased = biased
        self._resampled: tuple[tuple[int, int], dict[str, np.ndarray]] | None = None  # of the last draw

    def values(self) -> dict[str, float]:
        """Return every metric on all rows; NaN where it is undefined (AUROC of one class)."""
        measured = self._compute(np.ones((1, self.num_rows)))
        return {name: float(value[0]) for name, value in measured.items()} | self._exact

    def resamples(self, num_resamples: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
        """Return every metric on each bootstrap resample, `[num_resamples]`.

        Evaluations of the same rows in the same order draw the same resamples from the same seed: differences between
        the resamples of two models are those of a paired comparison.
        """
        if num_resamples < 1:
            raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
        drawn = (num_resamples, seed)
        if self._resampled is None or self._resampled[0] != drawn:
            blocks = [self._compute(counts) for counts in self._counts(num_resamples, seed)]
            resampled = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
            values = self.values()
            for name in self._biased:
                resampled[name] = np.maximum(resampled[name] - resampled[name].mean() + values[name], 0)
            self._resampled = drawn, resampled
        return dict(self._resampled[1])

    def differences(
        self, other: Evaluation, num_resamples: int = 1000, level: float = 0.95, seed: int = 0
    ) -> dict[str, Interval]:
        """Return each metric minus that of `other` on the same rows, with its *paired* bootstrap interval.

        The interval is that of the difference on equal resamples, which most of the rows' variance leaves: it may
        exclude 0 where the intervals of the two values overlap.
        """
        if other.num_rows != self.num_rows:
            raise ValueError(
                f"a paired comparison needs the same rows, got {self.num_rows} and {other.num_rows}"
            )
        values, others = self.values(), other.values()
        mine, theirs = self.resamples(num_resamples, seed), other.resamples(num_resamples, seed)
        return {
            name: percentile_interval(values[name] - others[name], mine[name] - theirs[name], level)
            for name in mine
            if name in theirs
        }

    def intervals(self, num_resamples: int = 1000, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
        """Return every metric with its percentile bootstrap interval; the ends are NaN where the value is.

        Resamples on which a metric is undefined are left out.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level}")
        resampled = self.resamples(num_resamples, seed)
        return {
            name: Interval(value, value, value)
            if name in self._exact
            else percentile_interval(value, resampled[name], level)
            for name, value in self.values().items()
        }

    def _compute(self, counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(divide="ignore", invalid="ignore"):  # undefined on these counts: NaN
            return self._measure(counts_RN)

    def _counts(self, num_resamples: int, seed: int) -> Iterator[np.ndarray]:
        """Yield blocks of multinomial counts; the draws do not depend on the block size."""
        generator = np.random.default_rng(seed)
        size = max(1, _BLOCK // self.num_rows)
        for start in range(0, num_resamples, size):
            counts = np.empty((min(size, num_resamples - start), self.num_rows))
            for row in counts:
                drawn = generator.integers(0, self.num_rows, self.num_rows)
                row[:] = np.bincount(drawn, minlength=self.num_rows)
            yield counts
