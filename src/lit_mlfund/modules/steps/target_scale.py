"""Maps the target of a regression to a scale on which its tails are short, and predictions back to its own unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

TargetTransform = Literal["none", "log", "quantile"]
MAX_KNOTS = 1000


@dataclass(frozen=True)
class TargetScale:
    """Maps targets to the scale of the loss, and outputs back to values within the range of the training targets.

    log       (log(y + offset) - mean) / std, with offset 1 where a training target is 0, else 0. The exponential of a
              mean of logarithms is too small for a mean: outputs are multiplied by `factor`, the mean over the
              validation rows of (y + offset) / exp(output) (the smearing estimate, Duan 1983).
    quantile  the normal quantile of the rank among the training targets, linear between knots

    A target beyond the range of training counts as its end.
    """

    kind: Literal["log", "quantile"]
    low: float
    high: float
    offset: float = 0.0
    mean: float = 0.0
    std: float = 1.0
    factor: float = 1.0
    knots: tuple[float, ...] = ()
    normal: tuple[float, ...] = ()

    @classmethod
    def fit(cls, kind: TargetTransform, y: Tensor, standardize: bool = True) -> Self:
        """Fit on training targets `[N]` of at least two values.

        Raises:
            ValueError: a negative target has no logarithm.
        """
        y = y.double()
        low, high = float(y.min()), float(y.max())
        if kind == "quantile":
            values, counts = y.unique(return_counts=True)
            rank = (counts.cumsum(0).double() - counts.double() / 2) / len(y)
            chosen = torch.arange(len(values))
            if len(values) > MAX_KNOTS:  # those next to equal steps of the rank
                even = torch.linspace(float(rank[0]), float(rank[-1]), MAX_KNOTS, dtype=torch.float64)
                chosen = torch.searchsorted(rank, even).clamp(0, len(rank) - 1)
                chosen[0], chosen[-1] = 0, len(rank) - 1
                chosen = chosen.unique()
            return cls(
                "quantile",
                low,
                high,
                knots=tuple(values[chosen].tolist()),
                normal=tuple(torch.special.ndtri(rank[chosen]).tolist()),
            )
        if low < 0:
            raise ValueError(f"a negative target has no logarithm, found {low:g}")
        offset = 0.0 if low > 0 else 1.0
        logs = (y + offset).log()
        mean, std = (float(logs.mean()), float(logs.std(correction=0))) if standardize else (0.0, 1.0)
        return cls("log", low, high, offset, mean, std)

    def to_loss(self, y: Tensor) -> Tensor:
        """Map targets, of any range, to the scale of the loss."""
        y_in_range = y.double().clamp(self.low, self.high)
        if self.kind == "quantile":
            return _interpolated(y_in_range, self.knots, self.normal).to(y.dtype)
        return (((y_in_range + self.offset).log() - self.mean) / self.std).to(y.dtype)

    def to_unit(self, output: Tensor) -> Tensor:
        """Map outputs to the unit of the target; what is not finite stays so."""
        z = output.double()
        if self.kind == "quantile":
            value = _interpolated(z, self.normal, self.knots)
        else:
            value = self.factor * (z * self.std + self.mean).exp() - self.offset
        return torch.where(z.isfinite(), value.clamp(self.low, self.high), z).to(output.dtype)

    def to_output(self, value: Tensor) -> Tensor:
        """Map a value within the range to the output of which `to_unit` makes it."""
        if self.kind == "quantile":
            return self.to_loss(value)
        v = value.double().clamp(self.low, self.high)
        return ((((v + self.offset) / self.factor).log() - self.mean) / self.std).to(value.dtype)

    def smeared(self, prediction: Tensor, y: Tensor, weight: Tensor | None = None) -> Self:
        """Return the scale with the factor of predictions that were made with factor 1.

        It stays 1 where it does not make the squared error of these rows smaller.
        """
        prediction, y = prediction.double(), y.double()
        share = torch.ones_like(y) if weight is None else weight.double()
        share = share / share.sum()
        known = y.clamp(self.low, self.high)
        factor = float((share * (known + self.offset) / (prediction + self.offset)).sum())
        scale = replace(self, factor=factor)

        def error(value: Tensor) -> float:
            return float((share * (value - y) ** 2).sum())

        better = math.isfinite(factor) and error(scale.corrected(prediction)) < error(prediction)
        return scale if better else self

    def corrected(self, prediction: Tensor) -> Tensor:
        """Return predictions that were made with factor 1 with the factor of this scale."""
        value = self.factor * (prediction.double() + self.offset) - self.offset
        return torch.where(prediction.isfinite(), value.clamp(self.low, self.high), prediction).to(
            prediction.dtype
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, for a checkpoint."""
        return {**asdict(self), "knots": list(self.knots), "normal": list(self.normal)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Restore the object from the result of `to_dict`; raise ValueError or LookupError where that is none."""
        kind, knots, normal = state["kind"], state["knots"], state["normal"]
        names = ("low", "high", "offset", "mean", "std", "factor")
        if kind not in get_args(TargetTransform)[1:] or len(knots) != len(normal):
            raise ValueError("the scale of the target is damaged")
        numbers = {name: float(state[name]) for name in names}
        return cls(kind, **numbers, knots=tuple(map(float, knots)), normal=tuple(map(float, normal)))


def _interpolated(x: Tensor, known: tuple[float, ...], values: tuple[float, ...]) -> Tensor:
    """Return the piecewise linear function through the points (known, values) at `x`, constant beyond them."""
    a = torch.tensor(known, dtype=torch.float64, device=x.device)
    b = torch.tensor(values, dtype=torch.float64, device=x.device)
    if len(a) < 2:
        return b.expand_as(x)
    right = torch.searchsorted(a, x.contiguous()).clamp(1, len(a) - 1)
    share = ((x - a[right - 1]) / (a[right] - a[right - 1])).clamp(0, 1)
    return b[right - 1] + share * (b[right] - b[right - 1])


def skewness(y: Tensor) -> float:
    """Return the third standardised moment; 0 for equal values."""
    centred = y.double() - y.double().mean()
    spread = float(centred.square().mean()) ** 0.5
    return float((centred**3).mean()) / spread**3 if spread else 0.0
