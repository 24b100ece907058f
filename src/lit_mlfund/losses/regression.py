"""Defines regression losses: squared, absolute, Huber, quantile and Poisson."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_mlfund.losses.arguments import (
    check_between,
    check_output,
    check_positive,
    check_real_target,
)
from lit_mlfund.losses.reduction import PointwiseLoss, Reduction, reduce


class MSELoss(PointwiseLoss):
    """Computes the mean squared error (prediction − target)², without a factor ½.

    prediction      `[B]` floating
    target          `[B]`, any real dtype
    weight          `[B]` >= 0, one per example: the mean divides by their sum; None: all equal
    reduction       mean: a scalar; none: losses `[B]`, each times its weight (as in torch)

    For ranking, each document's score is compared with its own grade only: the pointwise approach, a baseline.
    Raises ValueError for shapes that differ (`[B, 1]` against `[B]` too). Computed and returned in float32 at
    least. An empty batch gives 0.
    """

    tasks = ("regression", "ranking")

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return mse_loss(prediction, target, weight, reduction=self.reduction)


def mse_loss(
    prediction: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: Reduction = "mean"
) -> Tensor:
    """Compute `MSELoss` as a function.

    >>> mse_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]))
    tensor(5.)
    """
    prediction, target = _check_inputs(prediction, target)
    return reduce((prediction - target).square(), weight, reduction)


class MAELoss(PointwiseLoss):
    """Computes the mean absolute error |prediction − target|; the gradient is zero at equality.

    Arguments, errors and precision as for `MSELoss`.
    """

    tasks = ("regression", "ranking")

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return mae_loss(prediction, target, weight, reduction=self.reduction)


def mae_loss(
    prediction: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: Reduction = "mean"
) -> Tensor:
    """Compute `MAELoss` as a function.

    >>> mae_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]))
    tensor(2.)
    """
    prediction, target = _check_inputs(prediction, target)
    return reduce((prediction - target).abs(), weight, reduction)


class HuberLoss(PointwiseLoss):
    """Computes ½ e² for errors |e| up to delta, delta (|e| − ½ delta) above.

    delta           where the parabola turns into a line, > 0, in units of the target that the loss receives
                    (standard deviations for a standardised target)
    Other arguments, errors and precision as for `MSELoss`.

    Source: Huber 1964, "Robust estimation of a location parameter".
    """

    tasks = ("regression", "ranking")

    def __init__(self, delta: float = 1.0, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        check_positive("delta", delta)
        self.delta = delta

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return huber_loss(prediction, target, weight, delta=self.delta, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"delta={self.delta}"


def huber_loss(
    prediction: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    delta: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute `HuberLoss` as a function.

    >>> huber_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]))  # 0.5 and 2.5
    tensor(1.5000)
    """
    check_positive("delta", delta)
    prediction, target = _check_inputs(prediction, target)
    return reduce(F.huber_loss(prediction, target, reduction="none", delta=delta), weight, reduction)


class QuantileLoss(PointwiseLoss):
    """Computes the pinball loss, least at the q-quantile: q e for e = target − prediction > 0, else (q − 1) e.

    quantile        q, between 0 and 1; 0.5 is half the absolute error
    Other arguments, errors and precision as for `MSELoss`.

    Source: Koenker & Bassett 1978, "Regression quantiles".
    """

    tasks = ("regression",)

    def __init__(self, quantile: float = 0.5, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        check_between("quantile", quantile, 0, 1)
        self.quantile = quantile

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return quantile_loss(prediction, target, weight, quantile=self.quantile, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"quantile={self.quantile}"


def quantile_loss(
    prediction: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    quantile: float = 0.5,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute `QuantileLoss` as a function.

    >>> quantile_loss(torch.tensor([0.0, 0.0]), torch.tensor([1.0, -1.0]), quantile=0.9)  # 0.9 and 0.1
    tensor(0.5000)
    """
    check_between("quantile", quantile, 0, 1)
    prediction, target = _check_inputs(prediction, target)
    error = target - prediction
    return reduce(quantile * error.relu() + (1 - quantile) * (-error).relu(), weight, reduction)


class PoissonLoss(PointwiseLoss):
    """Computes the negative log-likelihood of counts, exp(p) − target · p, for a *log* rate p.

    The constant log(target!) is left out. Above the largest log-rate that is safe in the prediction's dtype (40; 10
    in float16) exp continues as its tangent, so that any prediction has a finite loss and gradient. `link` tells a
    task module that the target must reach the loss as it is, not standardised, and that exp(p) is the prediction.

    target          `[B]`, >= 0 (checked on CPU tensors only); need not be an integer
    Other arguments, errors and precision as for `MSELoss`.

    Source: McCullagh & Nelder 1989, "Generalized linear models", chapter 6.
    """

    tasks = ("regression",)
    link = "log"

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return poisson_loss(prediction, target, weight, reduction=self.reduction)


def poisson_loss(
    prediction: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: Reduction = "mean"
) -> Tensor:
    """Compute `PoissonLoss` as a function.

    >>> poisson_loss(torch.tensor([0.0, 1.0]), torch.tensor([3, 0]))  # 1 and e
    tensor(1.8591)
    """
    log_rate = check_output("prediction", prediction, (1,))
    target = check_real_target("prediction", log_rate, target, low=0.0)
    # Gradients are cast back to the dtype of the prediction and must be finite there.
    largest = min(40.0, math.log(torch.finfo(prediction.dtype).max) - 1)
    bounded = log_rate.clamp(max=largest)
    rate = bounded.exp() * (1 + log_rate - bounded)
    return reduce(rate - target * log_rate, weight, reduction)


def _check_inputs(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    prediction = check_output("prediction", prediction, (1,))
    return prediction, check_real_target("prediction", prediction, target)
