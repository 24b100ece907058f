"""Calibration of predicted probabilities: its error, the error to expect of a perfect model, the curve.

`probability` is `[B]`, the probability of a yes, with `target [B]` in {0, 1}; or `[B, K]` with class numbers
`[B]`, of which the highest probability is then held against whether its class was right. Rows may have a
`weight [B]`. Bins are `num_bins` of equal width, [0, 1/n), …, [1-1/n, 1], or of equal mass (as many rows in
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
    """Of each bin that has rows: mean probability, share of yes, and the weight of its rows."""

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
    """Expected calibration error: mean over rows of |share of yes - mean probability| of the row's bin.

    A perfectly calibrated model does not reach 0 on a finite sample: compare with `calibration_null`.
    Source: Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017, eq. 3.
    """
    mass, predicted, found = bin_sums(probability, target, num_bins, binning, weight)
    return (found - predicted).abs().sum() / mass.sum()


def calibration_null(
    probability: Tensor,
    num_bins: int = 15,
    binning: Binning = "width",
    weight: Tensor | None = None,
    quantile: float | None = None,
) -> Tensor:
    """The calibration error to expect of these probabilities if every one of them were exactly right.

    With `quantile`, the value that it would exceed with probability 1 - quantile (normal approximation of
    the sum over bins). Closed form: the mean absolute deviation of a binomial (de Moivre; Diaconis and
    Zabell 1991), exact where the rows of a bin are equal.
    """
    if quantile is not None and not 0 < quantile < 1:
        raise ValueError(f"quantile must be between 0 and 1, got {quantile!r}")
    probability, _, weight = _checked(probability, None, weight, num_bins)
    index = bin_index(probability, num_bins, binning, weight)
    variance = _sums(index, weight**2 * probability * (1 - probability), num_bins)
    deviation = torch.minimum(_deviation(index, probability, weight, num_bins), variance.sqrt())
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
    """Points of the reliability diagram, in the order of the bins; empty bins are left out."""
    mass, predicted, found = bin_sums(probability, target, num_bins, binning, weight)
    filled = mass > 0
    mass = mass[filled]
    return ReliabilityCurve(predicted[filled] / mass, found[filled] / mass, mass)


def bin_sums(
    probability: Tensor,
    target: Tensor,
    num_bins: int = 15,
    binning: Binning = "width",
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each bin, `[num_bins]`: the weight of its rows, their weighted probability, their weighted yes."""
    probability, hit, weight = _checked(probability, target, weight, num_bins)
    index = bin_index(probability, num_bins, binning, weight)
    return (
        _sums(index, weight, num_bins),
        _sums(index, weight * probability, num_bins),
        _sums(index, weight * hit, num_bins),
    )


def bin_index(
    probability: Tensor, num_bins: int, binning: Binning = "width", weight: Tensor | None = None
) -> Tensor:
    """The bin, 0 … num_bins-1, of each probability `[B]`."""
    if binning == "width":
        return (probability * num_bins).long().clamp(max=num_bins - 1)
    if binning != "mass":
        raise ValueError(f'binning must be "width" or "mass", got {binning!r}')
    _, group = probability.unique(return_inverse=True)  # sorted: groups are numbered by probability
    mass = group.bincount(weight)
    middle = (mass.cumsum(0) - mass / 2) / mass.sum()
    return (middle * num_bins).long().clamp(max=num_bins - 1)[group]


def _checked(
    probability: Tensor, target: Tensor | None, weight: Tensor | None, num_bins: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Probability, hit (0 or 1) and weight of each row, as `[B]` tensors of one wide floating type."""
    if isinstance(num_bins, bool) or not isinstance(num_bins, int) or num_bins < 1:
        raise ValueError(f"num_bins must be a whole number of at least 1, got {num_bins!r}")
    if probability.ndim not in (1, 2) or len(probability) == 0:
        raise ValueError(f"probability must be [B] or [B, K] with B > 0, got {tuple(probability.shape)}")
    rows = probability.shape[:1]
    for name, value in (("target", target), ("weight", weight)):
        if value is not None and value.shape != rows:
            raise ValueError(f"{name} must be [B] = {tuple(rows)}, got {tuple(value.shape)}")
    wide = torch.float32 if probability.device.type == "mps" else torch.float64
    bad = ~((probability >= 0) & (probability <= 1))  # NaN is neither
    if bad.any():
        raise ValueError(f"probability: {int(bad.sum())} of {bad.numel()} are not in [0, 1]")
    if probability.ndim == 2:
        probability, predicted = probability.max(1)
        hit = probability.new_zeros(rows) if target is None else predicted == target
    elif target is None:
        hit = torch.zeros_like(probability)
    elif not ((target == 0) | (target == 1)).all():
        wrong = target[(target != 0) & (target != 1)]
        raise ValueError(f"target must be 0 or 1: {len(wrong)} are not, such as {wrong[0].item()}")
    else:
        hit = target
    weight = torch.ones_like(probability, dtype=wide) if weight is None else weight.to(wide)
    if not (weight.amin() >= 0 and 0 < weight.sum() < torch.inf):
        raise ValueError("weight must be finite, at least 0, and above 0 somewhere")
    return probability.to(wide), hit.to(wide), weight


def _sums(index: Tensor, value: Tensor, num_bins: int) -> Tensor:
    return torch.zeros(num_bins, dtype=value.dtype, device=value.device).index_add_(0, index, value)


def _deviation(index: Tensor, probability: Tensor, weight: Tensor, num_bins: int) -> Tensor:
    """Of each bin, E|sum of weight · (yes - probability)| of its rows, each a yes with its own probability.

    The number of yes is read as the binomial X of n trials with that mean and variance; E|X - np| is
    2 v (1-p) C(n, v) p^v (1-p)^(n-v), v the whole number above np. The rarer of yes and no is counted.
    """
    mean, no = (
        _sums(index, weight * probability, num_bins),
        _sums(index, weight * (1 - probability), num_bins),
    )
    rare = torch.where((mean <= no)[index], probability, 1 - probability)
    mean = torch.minimum(mean, no)
    spread = _sums(index, weight * rare * (1 - rare), num_bins)
    varies = (mean > 0) & (spread > 0)
    mean, spread = torch.where(varies, mean, 1), torch.where(varies, spread, 1)
    p = (_sums(index, weight * rare**2, num_bins) / mean).clamp(max=1 - 1e-12)  # 1 - variance / mean
    scale = _sums(index, weight**2 * rare * (1 - rare), num_bins) / spread  # the weight of a row
    mean = mean / scale.clamp(min=torch.finfo(scale.dtype).tiny)
    trials, above = mean / p, mean.floor() + 1
    log_choose = (trials + 1).lgamma() - (above + 1).lgamma() - (trials - above + 1).lgamma()
    log_mass = log_choose + above * p.log() + (trials - above) * torch.log1p(-p)
    return torch.where(varies, scale * 2 * above * (1 - p) * log_mass.exp(), 0)
