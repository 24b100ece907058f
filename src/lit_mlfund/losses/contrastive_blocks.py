"""Computes contrastive losses over blocks of the score matrix, with the gradient in the forward pass.

The B×B score matrix is never stored: a block of rows is scored, turned into its loss and gradient while it is in
cache, and accumulated. What is saved for the backward pass has the size of the embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from lit_mlfund.losses.contrastive_pairs import Ids, Pairs

# Next to the largest term of a sum, exp(-60) is negligible even in float64. Smaller exponents are clamped to it,
# because on a CPU exp and products that give denormal numbers are a hundred times slower.
MIN_EXPONENT = -60.0
Masks = list[tuple[slice, Tensor]]  # columns of a block, and True where a pair does not count


class ItemDirection(NamedTuple):
    """Holds the item-to-query direction: each item's log-sum-exp and share of the loss; a buffer for scores."""

    lse: Tensor
    weight: Tensor
    buffer: Tensor


class PairLoss(torch.autograd.Function):
    """Computes the loss of `pairs` (a scalar, equal on all ranks) and its gradients, in blocks of rows.

    query_RD, column_MD  embeddings; a score is scale · query·column − log_q
    scale                float, or a scalar tensor that receives a gradient
    form                 softmax: cross-entropy of the positive; logistic: sum of binary cross-entropies
    Gradients are those of this rank's rows, times `pairs.world_size` (see gather.py). Second derivatives raise.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query_RD: Tensor,
        column_MD: Tensor,
        scale: Tensor | float,
        pairs: Pairs,
        form: Literal["softmax", "logistic"],
    ) -> Tensor:
        needs_grad = any(ctx.needs_input_grad)
        scaled_RD = query_RD * scale
        column_DM = column_MD.T.contiguous()
        items = None
        if form == "softmax" and pairs.item_weight is not None:
            lse = _item_logsumexp(scaled_RD, column_MD, pairs)
            buffer = query_RD.new_empty(min(pairs.chunk, len(query_RD)), pairs.num_items)
            items = ItemDirection(lse, pairs.item_weight, buffer)

        loss = query_RD.new_zeros(())
        query_grad, column_grad_DM = torch.empty_like(query_RD), torch.zeros_like(column_DM)
        same = same_id_masks(pairs)
        for rows, scores, masks in score_blocks(scaled_RD, column_DM, pairs.chunk, same, pairs.log_q):
            if form == "softmax":
                block_loss, factor = _softmax_loss_(scores, rows, pairs, items)
            else:
                block_loss, factor = _logistic_loss_(scores, rows, pairs)
            loss += block_loss
            if needs_grad:  # `scores` now holds the gradient up to the factor
                for columns, mask in masks:
                    scores[:, columns].masked_fill_(mask, 0)
                torch.mm(scores, column_MD, out=query_grad[rows]).mul_(factor)
                column_grad_DM.addmm_((scaled_RD[rows] * factor).T, scores)
        if pairs.world_size > 1:
            dist.all_reduce(loss)
        if needs_grad:
            query_grad *= pairs.world_size
            column_grad_DM *= pairs.world_size
            ctx.save_for_backward(query_grad * scale, column_grad_DM.T, (query_grad * query_RD).sum())
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # once_differentiable would not notice: a second backward pass sees the saved gradients as constants.
        if torch.is_grad_enabled():
            raise RuntimeError("contrastive loss in blocks: no second derivative (create_graph=True)")
        grads = (
            grad * saved if needed else None for saved, needed in zip(ctx.saved_tensors, ctx.needs_input_grad)
        )
        return *grads, None, None


def dense_pair_loss(
    query_RD: Tensor,
    column_MD: Tensor,
    scale: Tensor | float,
    pairs: Pairs,
    form: Literal["softmax", "logistic"],
) -> Tensor:
    """Compute `PairLoss` by the plain formula, on one rank: faster on small batches, twice differentiable."""
    scores = query_RD @ column_MD.T * scale
    if pairs.log_q is not None:
        scores = scores - pairs.log_q
    for same in same_id_masks(pairs):
        same.mask_(scores, slice(0, len(scores)))
    positive = pairs.positive[:, None]
    items = scores[:, : pairs.num_items]
    if form == "softmax":
        loss = pairs.weight @ F.cross_entropy(scores, pairs.positive, reduction="none")
        if pairs.item_weight is not None:
            item_lse = items.logsumexp(0)[pairs.positive]
            loss = loss + pairs.weight @ (item_lse - scores.gather(1, positive).squeeze(1))
        return loss
    cost = _softplus(scores.scatter(1, positive, -scores.gather(1, positive)))
    loss = pairs.weight @ cost.sum(1)
    if pairs.item_weight is not None:
        loss = loss + cost[:, : pairs.num_items].sum(0) @ pairs.item_weight
    return loss


def _softmax_loss_(
    scores: Tensor, rows: slice, pairs: Pairs, items: ItemDirection | None
) -> tuple[Tensor, Tensor | float]:
    """Return a block's cross-entropy and a factor per row; `scores` becomes its gradient up to that factor."""
    weight, column = pairs.weight[rows], pairs.positive[rows, None]
    own = scores.gather(1, column)
    if items is not None:
        item_grad = torch.sub(scores[:, : pairs.num_items], items.lse, out=items.buffer[: len(scores)])
        item_grad.clamp_min_(MIN_EXPONENT).exp_().mul_(items.weight).scatter_add_(1, column, -weight[:, None])
    lse, total = _logsumexp_(scores)
    scores.scatter_add_(1, column, -total[:, None])
    loss, factor = weight @ (lse - own.squeeze(1)), (weight / total)[:, None]
    if items is None:
        return loss, factor
    scores.mul_(factor)[:, : pairs.num_items] += item_grad
    return loss + weight @ (items.lse[column] - own).squeeze(1), 1.0


def _logistic_loss_(scores: Tensor, rows: slice, pairs: Pairs) -> tuple[Tensor, Tensor | float]:
    """Return a block's binary cross-entropy and a factor; `scores` becomes its gradient up to that factor."""
    weight, column = pairs.weight[rows], pairs.positive[rows, None]
    own = scores.gather(1, column)
    cost = _softplus(scores.clamp_min_(MIN_EXPONENT)).scatter_(1, column, _softplus(-own))
    loss = weight @ cost.sum(1)
    scores.sigmoid_().scatter_(1, column, -torch.sigmoid(-own))
    if pairs.item_weight is None:
        return loss, weight[:, None]
    items = slice(pairs.num_items)
    loss += cost[:, items].sum(0) @ pairs.item_weight
    scores[:, items] *= weight[:, None] + pairs.item_weight
    scores[:, pairs.num_items :] *= weight[:, None]
    return loss, 1.0


def _softplus(scores: Tensor) -> Tensor:
    return F.softplus(scores, threshold=40)  # torch's default of 20 turns linear too early for float64


def _logsumexp_(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return log Σ exp(score) and Σ exp(score − maximum) per row; `scores` becomes the terms of the latter."""
    top = scores.amax(1, keepdim=True).clamp_min_(torch.finfo(scores.dtype).min)  # for rows of -inf
    total = scores.sub_(top).clamp_min_(MIN_EXPONENT).exp_().sum(1)
    return total.log().add_(top.squeeze(1)), total


def _item_logsumexp(scaled_RD: Tensor, column_MD: Tensor, pairs: Pairs) -> Tensor:
    """Return `[num_items]`, the log-sum-exp of each item's scores over the queries of all ranks."""
    item_ND = column_MD[: pairs.num_items]
    result = item_ND.new_full((len(item_ND),), -torch.inf)
    if len(scaled_RD):
        chunk = max(1, pairs.chunk * len(column_MD) // len(scaled_RD))
        same = []
        if pairs.row_ids is not None:
            same = [SameIdMask(pairs.column_ids[0], pairs.row_ids, 0, chunk, pairs.is_sorted)]
        for rows, scores, _ in score_blocks(item_ND, scaled_RD.T.contiguous(), chunk, same):
            result[rows] = _logsumexp_(scores)[0]
    if pairs.log_q is not None:
        result -= pairs.log_q[: pairs.num_items]
    if pairs.world_size > 1:
        parts = [torch.empty_like(result) for _ in range(pairs.world_size)]
        dist.all_gather(parts, result)
        result = torch.stack(parts).logsumexp(0)
    return result


def score_blocks(
    row_RD: Tensor, column_DM: Tensor, chunk: int, same: list[SameIdMask], log_q: Tensor | None = None
) -> Iterator[tuple[slice, Tensor, Masks]]:
    """Yield slices of at most `chunk` rows, their scores `[rows, M]` in a reused buffer, and masks."""
    buffer = row_RD.new_empty(min(chunk, len(row_RD)), column_DM.shape[1])
    for start in range(0, len(row_RD), chunk):
        rows = slice(start, min(start + chunk, len(row_RD)))
        scores = buffer[: rows.stop - start]
        if log_q is None:
            torch.mm(row_RD[rows], column_DM, out=scores)
        else:
            torch.addmm(-log_q, row_RD[rows], column_DM, out=scores)
        yield rows, scores, [pairs.mask_(scores, rows) for pairs in same]


def same_id_masks(pairs: Pairs) -> list[SameIdMask]:
    """Create a mask for each run of columns that has ids."""
    if pairs.row_ids is None:
        return []
    firsts = (0, pairs.num_items)
    return [
        SameIdMask(pairs.row_ids, columns, first, pairs.chunk, pairs.is_sorted)
        for columns, first in zip(pairs.column_ids, firsts)
    ]


class SameIdMask:
    """Masks pairs that share an id without being a positive, in a run of columns that starts at `first`."""

    def __init__(self, rows: Ids, columns: Ids, first: int, chunk: int, is_sorted: bool) -> None:
        self.rows, self.columns, self.first, self.chunk = rows, columns, first, chunk
        self.bands = None
        if is_sorted and len(rows.id):  # only a band of columns can share an id with a block of rows
            low = torch.searchsorted(columns.id, rows.id[::chunk].contiguous())
            high = torch.searchsorted(columns.id, rows.id[chunk - 1 :: chunk].contiguous(), right=True)
            high = F.pad(high, (0, len(low) - len(high)), value=len(columns.id))
            self.bands = torch.stack((low, high), 1).tolist()

    def mask_(self, scores: Tensor, rows: slice) -> tuple[slice, Tensor]:
        """Set those pairs of a block to -inf; return the columns concerned and the mask in them."""
        low, high = self.bands[rows.start // self.chunk] if self.bands else (0, len(self.columns.id))
        mask = self.rows.id[rows, None] == self.columns.id[low:high]
        mask &= self.rows.column[rows, None] != self.columns.column[low:high]
        columns = slice(self.first + low, self.first + high)
        scores[:, columns].masked_fill_(mask, -torch.inf)
        return columns, mask
