"""Defines classification losses: binary and categorical cross-entropy, hinge and focal."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from lit_mlfund.losses.arguments import (
    check_between,
    check_class_weight,
    check_classes,
    check_label_smoothing,
    check_output,
    check_positive,
    check_real_target,
    class_weight_tensor,
)
from lit_mlfund.losses.reduction import PointwiseLoss, Reduction, example_weights, reduce


class BinaryCrossEntropyLoss(PointwiseLoss):
    """Computes −y log p − (1 − y) log(1 − p) for p = sigmoid(logit).

    pos_weight      factor on the loss of positives, > 0; not in the denominator of the mean (as in torch)
    label_smoothing ε in [0, 1): a target y becomes y (1 − ε) + (1 − y) ε
    logits          `[B]` floating
    target          `[B]`, any dtype: 0, 1 or a probability in between
    weight          `[B]` >= 0, one per example: the mean divides by their sum; None: all equal
    reduction       mean: a scalar; none: losses `[B]`, each times its weight (as in torch)

    Raises ValueError for shapes that differ (`[B, 1]` against `[B]` too), a target outside [0, 1] (checked on CPU
    tensors only), options out of range. Computed and returned in float32 at least. An empty batch gives 0.
    """

    tasks = ("binary", "ranking")

    def __init__(
        self, pos_weight: float | None = None, label_smoothing: float = 0.0, *, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(reduction)
        if pos_weight is not None:
            check_positive("pos_weight", pos_weight)
        check_label_smoothing(label_smoothing)
        self.pos_weight = pos_weight
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return binary_cross_entropy_loss(
            logits,
            target,
            weight,
            pos_weight=self.pos_weight,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return f"pos_weight={self.pos_weight}, label_smoothing={self.label_smoothing}"


def binary_cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    pos_weight: float | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute `BinaryCrossEntropyLoss` as a function.

    >>> binary_cross_entropy_loss(torch.tensor([0.0, 9.0]), torch.tensor([0, 1]))  # log 2 and almost 0
    tensor(0.3466)
    """
    if pos_weight is not None:
        check_positive("pos_weight", pos_weight)
    check_label_smoothing(label_smoothing)
    logits = check_output("logits", logits, (1,))
    target = check_real_target("logits", logits, target, 0.0, 1.0)
    if label_smoothing:
        target = target * (1 - 2 * label_smoothing) + label_smoothing
    factor = None if pos_weight is None else logits.new_full((), pos_weight)
    losses = F.binary_cross_entropy_with_logits(logits, target, pos_weight=factor, reduction="none")
    return reduce(losses, weight, reduction)


class CrossEntropyLoss(PointwiseLoss):
    """Computes −Σ_k y_k log p_k for p = softmax(logits).

    label_smoothing ε in [0, 1): the target is 1 − ε on the class, ε/(K − 1) on each other (torch: ε/K on all)
    class_weight    K factors >= 0 on the weights of the examples of each class, also in the denominator of the mean
    logits          `[B, K]` floating, K >= 2
    target          `[B]` integer classes 0 … K − 1
    weight          `[B]` >= 0, one per example: the mean divides by their sum; None: all equal
    reduction       mean: a scalar; none: losses `[B]`, each times its weight and class weight (as in torch)

    Errors and precision as for `BinaryCrossEntropyLoss`; a target must have an integer dtype and be a class.
    Source of smoothing: Szegedy et al. 2016, "Rethinking the inception architecture", section 7.
    """

    tasks = ("multiclass",)
    class_weight: Tensor | None

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weight: list[float] | None = None,
        *,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        check_label_smoothing(label_smoothing)
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weight", class_weight_tensor(class_weight), persistent=False)

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return cross_entropy_loss(
            logits,
            target,
            weight,
            label_smoothing=self.label_smoothing,
            class_weight=self.class_weight,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return f"label_smoothing={self.label_smoothing}, class_weight={self.class_weight}"


def cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute `CrossEntropyLoss` as a function; `class_weight` is a tensor `[K]`.

    >>> cross_entropy_loss(torch.zeros(2, 4), torch.tensor([0, 3]))  # log 4
    tensor(1.3863)
    """
    check_label_smoothing(label_smoothing)
    logits = check_output("logits", logits, (2,))
    target = check_classes(logits, target)
    class_weight = check_class_weight(class_weight, logits)
    log_p = logits.log_softmax(1)
    losses = -log_p.gather(1, target[:, None]).squeeze(1)
    if label_smoothing:
        others = (-log_p.sum(1) - losses) / (logits.shape[1] - 1)
        losses = (1 - label_smoothing) * losses + label_smoothing * others
    return reduce(losses, example_weights(class_weight, target, weight), reduction)


class HingeLoss(PointwiseLoss):
    """Computes max(0, margin − y · logit), or max(0, margin + best other logit − own logit) for several classes.

    margin          > 0
    logits          `[B]` floating for two classes, `[B, K]` for several (Crammer–Singer)
    target          `[B]`: 0 and 1, any dtype, read as y = −1 and +1; or integer classes 0 … K − 1
    Weights, reduction, errors and precision as for `BinaryCrossEntropyLoss`.

    Source: Crammer & Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector
    machines".
    """

    tasks = ("binary", "multiclass")

    def __init__(self, margin: float = 1.0, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        check_positive("margin", margin)
        self.margin = margin

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return hinge_loss(logits, target, weight, margin=self.margin, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"margin={self.margin}"


def hinge_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    margin: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute `HingeLoss` as a function.

    >>> hinge_loss(torch.tensor([0.5, -2.0]), torch.tensor([1, 0]))  # 0.5 and 0
    tensor(0.2500)
    >>> hinge_loss(torch.tensor([[2.0, 1.5, 0.0]]), torch.tensor([0]))
    tensor(0.5000)
    """
    check_positive("margin", margin)
    logits = check_output("logits", logits, (1, 2))
    if logits.ndim == 1:
        target = check_real_target("logits", logits, target, 0.0, 1.0)
        gap = (2 * target - 1) * logits
    else:
        target = check_classes(logits, target)
        gap = logits.gather(1, target[:, None]).squeeze(1) - _mask_own_class(logits, target).amax(1)
    return reduce((margin - gap).relu(), weight, reduction)


class FocalLoss(PointwiseLoss):
    """Computes −(1 − p)^gamma log p for the probability p of the true class: easy examples count little.

    gamma           >= 0; 0 is cross-entropy
    alpha           in (0, 1): factor on positives, 1 − alpha on negatives (two classes only); None: 1 on both
    class_weight    K factors >= 0, as for `CrossEntropyLoss` (several classes only)
    logits          `[B]` floating for two classes, `[B, K]` for several
    target          `[B]`: 0 and 1, any dtype; or integer classes 0 … K − 1
    Weights, reduction, errors and precision as for `CrossEntropyLoss`.

    Source: Lin et al. 2017, "Focal loss for dense object detection", equations 4 and 5.
    """

    tasks = ("binary", "multiclass")
    class_weight: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = None,
        class_weight: list[float] | None = None,
        *,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        _check_focal(gamma, alpha)
        self.gamma = gamma
        self.alpha = alpha
        self.register_buffer("class_weight", class_weight_tensor(class_weight), persistent=False)

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return focal_loss(
            logits,
            target,
            weight,
            gamma=self.gamma,
            alpha=self.alpha,
            class_weight=self.class_weight,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, alpha={self.alpha}, class_weight={self.class_weight}"


def focal_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    class_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Compute `FocalLoss` as a function; `class_weight` is a tensor `[K]`.

    >>> focal_loss(torch.tensor([0.0, 0.0]), torch.tensor([0, 1]))  # log(2) / 4
    tensor(0.1733)
    """
    _check_focal(gamma, alpha)
    logits = check_output("logits", logits, (1, 2))
    if logits.ndim == 1:
        if class_weight is not None:
            raise ValueError(f"class_weight: needs logits [B, K], got {list(logits.shape)}; use alpha")
        target = check_real_target("logits", logits, target, 0.0, 1.0)
        gap = (2 * target - 1) * logits
    else:
        if alpha is not None:
            raise ValueError(f"alpha: needs logits [B], got {list(logits.shape)}; use class_weight")
        target = check_classes(logits, target)
        # The probability of a class is the sigmoid of its logit minus the log-sum-exp of the others.
        gap = logits.gather(1, target[:, None]).squeeze(1) - _mask_own_class(logits, target).logsumexp(1)
        weight = example_weights(check_class_weight(class_weight, logits), target, weight)
    losses = (gamma * F.logsigmoid(-gap)).exp() * F.softplus(-gap)
    if alpha is not None:
        losses = losses * (alpha * target + (1 - alpha) * (1 - target))
    return reduce(losses, weight, reduction)


def _check_focal(gamma: float, alpha: float | None) -> None:
    if not 0 <= gamma < math.inf:
        raise ValueError(f"gamma: expected a finite number of at least 0, got {gamma!r}")
    if alpha is not None:
        check_between("alpha", alpha, 0, 1)


def _mask_own_class(logits_BK: Tensor, target_B: Tensor) -> Tensor:
    """Return the logits with each row's own class at minus infinity."""
    return logits_BK.scatter(1, target_B[:, None], -math.inf)
