"""Reduces losses per example or per query to their weighted mean."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from lit_mlfund.losses.arguments import check_weight

Reduction = Literal["mean", "none"]


class PointwiseLoss(nn.Module):
    """Holds the `reduction` of a loss that has one value per example.

    reduction       mean: the weighted mean, a scalar; none: `[B]`, each example's loss times its weight. As in
                    torch, the attribute may be changed later
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction


def check_reduction(reduction: str) -> None:
    """Raise ValueError unless `reduction` is mean or none."""
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction: expected mean or none, got {reduction!r}")


def example_weights(class_weight: Tensor | None, target_B: Tensor, weight_B: Tensor | None) -> Tensor | None:
    """Return each example's weight times that of its class; None where neither is given."""
    if class_weight is None:
        return weight_B
    by_class_B = class_weight[target_B]
    if weight_B is None:
        return by_class_B
    check_weight(weight_B, len(target_B), "example")
    return by_class_B * weight_B


def reduce(losses_B: Tensor, weight_B: Tensor | None, reduction: Reduction = "mean") -> Tensor:
    """Return the weighted mean of per-example losses, or each loss times its weight for `reduction="none"`.

    The mean is Σ weight · loss / Σ weight; 0, with gradient, where all weights are 0.
    """
    check_reduction(reduction)
    if weight_B is None:
        if reduction == "none":
            return losses_B
        return losses_B.mean() if losses_B.numel() else losses_B.sum()
    check_weight(weight_B, len(losses_B), "example")
    weight_B = weight_B.to(losses_B.dtype)
    weighted_B = losses_B * weight_B
    if reduction == "none":
        return weighted_B
    total = weight_B.sum()
    return weighted_B.sum() / torch.where(total > 0, total, 1)


def query_mean(loss_Q: Tensor, has_pair_Q: Tensor, weight_Q: Tensor | None) -> Tensor:
    """Return the weighted mean over the queries that have a pair of documents to order."""
    query_weight_Q = has_pair_Q.to(loss_Q.dtype)
    if weight_Q is not None:
        check_weight(weight_Q, len(loss_Q), "query")
        query_weight_Q = query_weight_Q * weight_Q
    return reduce(loss_Q, query_weight_Q)
