"""L1 regularization by a proximal step: weights that are exactly zero, under any optimizer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def soft_threshold_(parameters: Iterable[Tensor], threshold: float) -> None:
    """Move every weight towards zero by `threshold`, in place; those nearer than that become exactly 0.

    The proximal operator of threshold·‖w‖₁ (Parikh & Boyd 2014, §6.5.2). After each optimizer step, with
    `threshold` = learning rate × strength, it makes proximal gradient descent on loss + strength·‖w‖₁. Adding
    the penalty to the loss instead leaves weights that jitter around zero.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must not be negative, got {threshold}")
    for parameter in parameters:
        parameter.copy_(F.softshrink(parameter, threshold))
