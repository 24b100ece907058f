"""Implements the proximal step of L1 regularization, which makes weights exactly zero under any optimizer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def soft_threshold_(parameters: Iterable[Tensor], threshold: float) -> None:
    """Move every weight towards zero by `threshold`, in place; weights of smaller magnitude become exactly 0.

    This is the proximal operator of threshold·‖w‖₁ (Parikh & Boyd 2014, §6.5.2). Applied after each optimizer step
    with `threshold` = learning rate × strength, it yields proximal gradient descent on loss + strength·‖w‖₁. Adding
    the penalty to the loss instead would leave weights that jitter around zero.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must not be negative, got {threshold}")
    for parameter in parameters:
        parameter.copy_(F.softshrink(parameter, threshold))
