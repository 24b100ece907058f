"""Measures calibration of predicted probabilities: its error, a perfect model's expected error, the curve.

`probability` is `[B]`, the probability of the positive class, with `target [B]` in {0, 1}; or `[B, K]` with class
indices `[B]`, in which case the highest probability is compared with whether its class was right. Rows may have a
`weight [B]`. The `num_bins` bins are of equal width, [0, 1/n), …, [1-1/n, 1], or of equal mass (equally many rows in
each; rows of equal probability share a bin).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor

Binning = Literal["width", "mass"]


@dataclass(frozen=True)
class ReliabilityCurve:
    """Holds mean probability, fraction of positives and total weight of each bin that has rows."""

    probability: Tensor
    frequency: Tensor
    weight: Tensor


def calibration_error(
    probability: Tensor,
    target: Tensor,
    num_bins: int = 15,
    binning: Binning = "width",
    weight: Tensor | None = None,
) -> Tensor:
    """Compute the expected calibration error: mean |fraction of positives - mean probability| over bins.

    Bins count by the weight of their rows. Even a perfectly calibrated model does not reach 0 on a finite sample:
    compare with `calibration_null`.
    Source: Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017, eq. 3.
    """
    mass, predicted, observed = bin_sums(probability, target, num_bins, binning, weight)
    return (observed - predicted).abs().sum() / mass.sum()


def calibration_null(
    probability: Tensor,
    num_bins: int = 15,
    binning: Binning = "width",
    weight: Tensor | None = None,
    quantile: float | None = None,
) -> Tensor:
    """Compute the calibration error to expect of these probabilities if every one of them were exact.

    With `quantile`, return the value that the error would exceed with probability 1 - quantile (normal approximation
    of the sum over bins). Closed form: the mean absolute deviation of a binomial (de Moivre; Diaconis and Zabell
    1991), exact where the rows of a bin are equal.
    """
    if quantile is not None and not 0 < quantile < 1:
        raise ValueError(f"quantile must be between 0 and 1, got {quantile!r}")
    probability, _, weight = _check_arguments(probability, None, weight, num_bins)
    index = bin_index(probability, num_bins, binning, weight)
    variance = _sum_by_bin(index, weight**2 * probability * (1 - probability), num_bins)
    deviation = torch.minimum(_mean_deviation(index, probability, weight, num_bins), variance.sqrt())
    expected = deviation.sum() / weight.sum()
    if quantile is None:
        return expected
    spread = (variance - deviation**2).clamp(min=0).sum().sqrt() / weight.sum()
    return expected + NormalDist().inv_cdf(quantile) * spread


def reliability_curve(
    probability: Tensor,
    target: Tensor,
    num_bins: int = 15,
    binning: Binning = "width",
    weight: Tensor | None = None,
) -> ReliabilityCurve:
    """Return the points of the reliability diagram in order of the bins; empty bins are left out."""
    mass, predicted, observed = bin_sums(probability, target, num_bins, binning, weight)
    has_rows = mass > 0
    mass = mass[has_rows]
    return ReliabilityCurve(predicted[has_rows] / mass, observed[has_rows] / mass, mass)


def bin_sums(
    probability: Tensor,
    target: Tensor,
    num_bins: int = 15,
    binning: Binning = "width",
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum weight, weighted probability and weighted positives over the rows of each bin, `[num_bins]` each."""
    probability, is_positive, weight = _check_arguments(probability, target, weight, num_bins)
    index = bin_index(probability, num_bins, binning, weight)
    return (
        _sum_by_bin(index, weight, num_bins),
        _sum_by_bin(index, weight * probability, num_bins),
        _sum_by_bin(index, weight * is_positive, num_bins),
    )


def bin_index(
    probability: Tensor, num_bins: int, binning: Binning = "width", weight: Tensor | None = None
) -> Tensor:
    """Return the bin, 0 … num_bins-1, of each probability `[B]`."""
    if binning == "width":
        return (probability * num_bins).long().clamp(max=num_bins - 1)
    if binning != "mass":
        raise ValueError(f'binning must be "width" or "mass", got {binning!r}')
    _, group = probability.unique(return_inverse=True)  # sorted: groups are numbered by probability
    mass = group.bincount(weight)
    middle = (mass.cumsum(0) - mass / 2) / mass.sum()
    return (middle * num_bins).long().clamp(max=num_bins - 1)[group]


def _check_arguments(
    probability: Tensor, target: Tensor | None, weight: Tensor | None, num_bins: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return probability, positive (0 or 1) and weight of each row, `[B]` in float64 (float32 on MPS)."""
    if isinstance(num_bins, bool) or not isinstance(num_bins, int) or num_bins < 1:
        raise ValueError(f"num_bins must be a whole number of at least 1, got {num_bins!r}")
    if probability.ndim not in (1, 2) or len(probability) == 0:
        raise ValueError(f"probability must be [B] or [B, K] with B > 0, got {tuple(probability.shape)}")
    rows = probability.shape[:1]
    for name, value in (("target", target), ("weight", weight)):
        if value is not None and value.shape != rows:
            raise ValueError(f"{name} must be [B] = {tuple(rows)}, got {tuple(value.shape)}")
    sum_dtype = torch.float32 if probability.device.type == "mps" else torch.float64
    invalid = ~((probability >= 0) & (probability <= 1))  # NaN is neither
    if invalid.any():
        raise ValueError(f"probability: {int(invalid.sum())} of {invalid.numel()} are not in [0, 1]")
    if probability.ndim == 2:
        probability, predicted = probability.max(1)
        is_positive = probability.new_zeros(rows) if target is None else predicted == target
    elif target is None:
        is_positive = torch.zeros_like(probability)
    elif not ((target == 0) | (target == 1)).all():
        invalid_targets = target[(target != 0) & (target != 1)]
        raise ValueError(
            f"target must be 0 or 1: {len(invalid_targets)} are not, such as {invalid_targets[0].item()}"
        )
    else:
        is_positive = target
    weight = torch.ones_like(probability, dtype=sum_dtype) if weight is None else weight.to(sum_dtype)
    if not (weight.amin() >= 0 and 0 < weight.sum() < torch.inf):
        raise ValueError("weight must be finite, at least 0, and above 0 somewhere")
    return probability.to(sum_dtype), is_positive.to(sum_dtype), weight


def _sum_by_bin(index: Tensor, value: Tensor, num_bins: int) -> Tensor:
    return torch.zeros(num_bins, dtype=value.dtype, device=value.device).index_add_(0, index, value)


def _mean_deviation(index: Tensor, probability: Tensor, weight: Tensor, num_bins: int) -> Tensor:
    """Compute E|Σ weight · (target - probability)| of each bin for Bernoulli targets of that probability.

    The number of positives is approximated by the binomial X of n trials with the same mean and variance; E|X - np|
    is 2 v (1-p) C(n, v) p^v (1-p)^(n-v), v the next integer above np. The rarer of positives and negatives is counted.
    """
    mean, negatives = (
        _sum_by_bin(index, weight * probability, num_bins),
        _sum_by_bin(index, weight * (1 - probability), num_bins),
    )
    rarer = torch.where((mean <= negatives)[index], probability, 1 - probability)
    mean = torch.minimum(mean, negatives)
    spread = _sum_by_bin(index, weight * rarer * (1 - rarer), num_bins)
    varies = (mean > 0) & (spread > 0)
    mean, spread = torch.where(varies, mean, 1), torch.where(varies, spread, 1)
    p = (_sum_by_bin(index, weight * rarer**2, num_bins) / mean).clamp(max=1 - 1e-12)  # 1 - variance / mean
    scale = _sum_by_bin(index, weight**2 * rarer * (1 - rarer), num_bins) / spread  # the weight of a row
    mean = mean / scale.clamp(min=torch.finfo(scale.dtype).tiny)
    trials, above = mean / p, mean.floor() + 1
    log_choose = (trials + 1).lgamma() - (above + 1).lgamma() - (trials - above + 1).lgamma()
    log_mass = log_choose + above * p.log() + (trials - above) * torch.log1p(-p)
    return torch.where(varies, scale * 2 * above * (1 - p) * log_mass.exp(), 0)
