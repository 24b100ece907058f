"""Provides metrics that are updated batch by batch, on one or several processes (torchmetrics.Metric).

Ranking metrics average over queries and keep three numbers, however many queries there are; all documents of a query
must be in one `update` on one process. The calibration error keeps sums per bin, but all rows for bins of equal mass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lit_mlfund.metrics import ranking
from lit_mlfund.metrics.calibration import Binning, bin_sums, calibration_error
from lit_mlfund.metrics.ranking import Gain


class _MeanOverQueries(Metric):
    """Averages per-query values; queries without a relevant document are skipped and counted.

    `compute()` is NaN if every query was skipped. `skipped_queries` is their number over all processes at the last
    `compute()`. Other keyword arguments are those of `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    total: Tensor
    num_scored: Tensor
    num_skipped: Tensor

    def __init__(self, k: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        ranking.check_k(k)
        self.k = k
        self.skipped_queries = 0
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_scored", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("num_skipped", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def _values(self, scores: Tensor, relevance: Tensor, mask: Tensor | None) -> Tensor:
        raise NotImplementedError

    def update(self, scores: Tensor, relevance: Tensor, mask: Tensor | None = None) -> None:
        """Add the queries of `[Q, L]` scores and relevance; the mask is True where a document is real."""
        value = self._values(scores.detach(), relevance, mask)
        scored = ~value.isnan()
        self.total += value.nansum(dtype=self.total.dtype)
        self.num_scored += scored.sum()
        self.num_skipped += (~scored).sum()

    def compute(self) -> Tensor:
        """Return the mean over the queries that have a value, as a float32 scalar."""
        self.skipped_queries = int(self.num_skipped)
        return (self.total / self.num_scored).float()


class NDCG(_MeanOverQueries):
    """Averages `ranking.ndcg` over queries."""

    def __init__(self, k: int | None = None, gain: Gain = "exponential", **kwargs: Any) -> None:
        super().__init__(k, **kwargs)
        self.gain = gain

    def _values(self, scores: Tensor, relevance: Tensor, mask: Tensor | None) -> Tensor:
        return ranking.ndcg(scores, relevance, mask, self.k, self.gain)


class MRR(_MeanOverQueries):
    """Averages `ranking.mrr` over queries."""

    def _values(self, scores: Tensor, relevance: Tensor, mask: Tensor | None) -> Tensor:
        return ranking.mrr(scores, relevance, mask, self.k)


class RecallAtK(_MeanOverQueries):
    """Averages `ranking.recall_at_k` over queries."""

    def _values(self, scores: Tensor, relevance: Tensor, mask: Tensor | None) -> Tensor:
        return ranking.recall_at_k(scores, relevance, mask, self.k)


class PrecisionAtK(_MeanOverQueries):
    """Averages `ranking.precision_at_k` over queries."""

    def _values(self, scores: Tensor, relevance: Tensor, mask: Tensor | None) -> Tensor:
        return ranking.precision_at_k(scores, relevance, mask, self.k)


class AveragePrecision(_MeanOverQueries):
    """Averages `ranking.average_precision` over queries."""

    def _values(self, scores: Tensor, relevance: Tensor, mask: Tensor | None) -> Tensor:
        return ranking.average_precision(scores, relevance, mask, self.k)


class CalibrationError(Metric):
    """Computes `calibration.calibration_error` of all rows; keeps 3 · num_bins numbers, or all rows for mass bins."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    sums: Tensor
    rows: list[Tensor]

    def __init__(self, num_bins: int = 15, binning: Binning = "width", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if binning not in ("width", "mass"):
            raise ValueError(f'binning must be "width" or "mass", got {binning!r}')
        self.num_bins = num_bins
        self.binning = binning
        if binning == "width":
            self.add_state("sums", torch.zeros(3, num_bins, dtype=torch.float64), dist_reduce_fx="sum")
        else:
            self.add_state("rows", [], dist_reduce_fx="cat")
            self.set_dtype(torch.float64)  # also for the empty state of a process without rows

    def update(self, probability: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Add rows: `[B]` with targets 0 or 1, or `[B, K]` with class indices."""
        if not len(probability):
            return
        probability = probability.detach()
        if self.binning == "width":
            self.sums += torch.stack(bin_sums(probability, target, self.num_bins, weight=weight))
            return
        bin_sums(probability, target, self.num_bins, weight=weight)  # checks the rows before they are stored
        if probability.ndim == 2:
            probability, predicted = probability.max(1)
            target = predicted == target
        weight = torch.ones_like(probability) if weight is None else weight
        self.rows.append(torch.stack([part.double() for part in (probability, target, weight)], 1).flatten())

    def compute(self) -> Tensor:
        """Return the calibration error as a float32 scalar; NaN without rows."""
        if self.binning == "width":
            mass, predicted, observed = self.sums
            return ((observed - predicted).abs().sum() / mass.sum()).float()
        if not len(self.rows):
            return torch.tensor(torch.nan, device=self.device)
        probability, target, weight = dim_zero_cat(self.rows).view(-1, 3).T
        return calibration_error(probability, target, self.num_bins, "mass", weight).float()
