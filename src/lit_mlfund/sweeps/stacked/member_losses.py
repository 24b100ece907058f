"""Computes the losses of all members in one call, each with the bits of a call of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_mlfund.losses.reduction import example_weights


def member_losses(
    loss: nn.Module, num_members: int, output: Tensor, target: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Return `[M]`, the weighted mean loss of each member.

    Args:
        loss: a pointwise loss with `reduction="none"`.
        num_members: M; all have equally many examples B, those of a member side by side.
        output: `[M·B]` or `[M·B, K]`.
        target: `[M·B]`.
        weight: `[M·B]`, or None.
    """
    losses_MB: Tensor = loss(output, target, weight=weight).view(num_members, -1)
    weight = example_weights(getattr(loss, "class_weight", None), target, weight)
    if weight is None:
        return losses_MB.mean(1)
    total_M = weight.to(losses_MB.dtype).view(num_members, -1).sum(1)
    return losses_MB.sum(1) / torch.where(total_M > 0, total_M, 1)
