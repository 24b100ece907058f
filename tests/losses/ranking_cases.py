"""Every ranking loss with its loop and options, and batches of every awkward kind."""

from __future__ import annotations

import ranking_reference as reference
import torch
from torch import Tensor

from lit_mlfund import losses

# name: (function, its loop, module, options)
LOSSES = {
    "ranknet": (losses.ranknet_loss, reference.ranknet, losses.RankNetLoss, {}),
    "ranknet sigma=2.5": (losses.ranknet_loss, reference.ranknet, losses.RankNetLoss, {"sigma": 2.5}),
    "hinge": (losses.pairwise_hinge_loss, reference.pairwise_hinge, losses.PairwiseHingeLoss, {}),
    "hinge .3": (
        losses.pairwise_hinge_loss,
        reference.pairwise_hinge,
        losses.PairwiseHingeLoss,
        {"margin": 0.3},
    ),
    "lambdarank": (losses.lambdarank_loss, reference.lambdarank, losses.LambdaRankLoss, {}),
    "lambdarank sigma=2": (
        losses.lambdarank_loss,
        reference.lambdarank,
        losses.LambdaRankLoss,
        {"sigma": 2.0},
    ),
    "lambdarank k=1": (losses.lambdarank_loss, reference.lambdarank, losses.LambdaRankLoss, {"k": 1}),
    "lambdarank k=4": (
        losses.lambdarank_loss,
        reference.lambdarank,
        losses.LambdaRankLoss,
        {"k": 4, "sigma": 0.7},
    ),
    "lambdarank k=99": (losses.lambdarank_loss, reference.lambdarank, losses.LambdaRankLoss, {"k": 99}),
    "listnet": (losses.listnet_loss, reference.listnet, losses.ListNetLoss, {}),
    "listnet T=3": (losses.listnet_loss, reference.listnet, losses.ListNetLoss, {"temperature": 3.0}),
    "listmle": (losses.listmle_loss, reference.listmle, losses.ListMLELoss, {}),
    "approx_ndcg": (losses.approx_ndcg_loss, reference.approx_ndcg, losses.ApproxNDCGLoss, {}),
    "approx_ndcg T=1": (
        losses.approx_ndcg_loss,
        reference.approx_ndcg,
        losses.ApproxNDCGLoss,
        {"temperature": 1.0},
    ),
}


KINDS = ["whole", "padded", "tied", "constant", "extreme", "binary", "real", "degenerate", "half degenerate"]


def lists(kind: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor | None]:
    """Scores, relevance and mask of one kind of batch."""
    g = torch.Generator().manual_seed(7)
    scores = torch.randn(5, 11, generator=g, dtype=torch.float64)
    relevance = torch.randint(0, 5, (5, 11), generator=g)
    mask = torch.rand(5, 11, generator=g) > 0.3
    if kind == "whole":
        mask = None
    elif kind == "tied":
        scores = scores.round()
    elif kind == "constant":
        scores = torch.zeros_like(scores)
    elif kind == "extreme":
        scores = 1e4 * scores.sign() + scores.round()
    elif kind == "binary":
        relevance = (relevance > 3).long()
    elif kind == "real":
        relevance = torch.rand(5, 11, generator=g, dtype=torch.float64) * 3
    elif kind == "huge grades":
        relevance = relevance * 200
    elif kind == "degenerate":  # no document, one, two of the same grade, all of grade 0, all of grade 3
        mask[0] = False
        mask[1] = torch.arange(11) == 4
        mask[2] = torch.arange(11) < 2
        relevance[2, :2] = 2
        relevance[3], relevance[4] = 0, 3
    elif kind == "half degenerate":
        mask[0], relevance[3] = False, 1
    elif kind != "padded":
        raise KeyError(kind)
    return scores.to(dtype), relevance, mask


def value_and_grad(function, scores, *args, **options) -> tuple[Tensor, Tensor]:
    scores = scores.clone().requires_grad_()
    loss = function(scores, *args, **options)
    loss.backward()
    return loss.detach(), scores.grad
