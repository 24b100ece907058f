"""Sums over all pairs of documents of a query in blocks, without ever storing a `[Q, L, L]` tensor.

Each function computes its gradient by hand from blocks that fit the processor's cache and saves only `[Q, L]` for the
backward pass. Gradients are of first order only; create_graph=True raises RuntimeError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_mlfund.losses.arguments import PaddedLists

Block = tuple[slice, slice, slice]  # queries, rows, columns
PairWeight = Callable[[slice, slice, slice], Tensor]

_CPU_BLOCK = 2**16  # pairs per thread: 256 KiB per tensor, so that a handful of them stay in the L2 cache
_GPU_BLOCK = 2**19  # enough pairs to fill a GPU, still below 10 MB
_MIN_ROWS = 4  # rows per query in a block of several queries: fewer rows waste less beside the diagonal


def pad_scores(scores_QL: Tensor, lists: PaddedLists) -> Tensor:
    """Fill padding with a huge negative, finite score, against which logistic terms vanish exactly."""
    return lists.fill_padding(scores_QL, -torch.finfo(scores_QL.dtype).max / 4)


def logistic_pair_sums(
    scores_QL: Tensor,
    pair_weight: PairWeight,
    first_QL: Tensor,
    num_documents_Q: Tensor,
    max_rows: int | None = None,
    signed: bool = False,
) -> Tensor:
    """Sum w_ij · softplus(−(s_i − s_j)) over the pairs of positions i < j of each query.

    scores_QL       from `pad_scores`, real documents first
    pair_weight     (queries, rows, columns) -> a new `[q, i, j]` tensor, 0 where j <= i and between paddings
    first_QL        the first j > i with w_ij ≠ 0; earlier ones are skipped (on a CPU only: reading it on a GPU would
                    stall)
    num_documents_Q number of real documents
    max_rows        only pairs with i < max_rows; None: all
    signed          a negative weight −w means that j belongs above i: w · softplus(−(s_j − s_i))
    """
    num_queries, length = scores_QL.shape
    height = length if max_rows is None else min(max_rows, length)
    if _on_cpu(scores_QL):
        has_pair_QL = first_QL[:, :height] < num_documents_Q[:, None]
        num_rows, num_columns = has_pair_QL.sum(1).tolist(), num_documents_Q.tolist()

        def first_column(queries: slice, top: int) -> int:
            return int(first_QL[queries, top].min())
    else:
        num_rows, num_columns = [height] * num_queries, [length] * num_queries

        def first_column(queries: slice, top: int) -> int:
            return top

    blocks = _blocks(num_rows, num_columns, _pairs_per_block(scores_QL), first_column)
    return _LogisticPairSums.apply(scores_QL, pair_weight, blocks, signed)


def soft_ranks(scores_QL: Tensor) -> Tensor:
    """Compute a differentiable rank, 1 + Σ_{j≠i} sigmoid(s_j − s_i), of each document.

    `scores_QL` come from `pad_scores`. Ranks of padding are finite and meaningless.
    """
    return _SoftRanks.apply(scores_QL)


class _LogisticPairSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores_QL: Tensor, pair_weight: PairWeight, blocks: Iterator[Block], signed: bool
    ) -> Tensor:
        loss_Q = scores_QL.new_zeros(scores_QL.shape[0])
        grad_QL = torch.zeros_like(scores_QL)
        for queries, rows, columns in blocks:
            score = scores_QL[queries]
            weight_QIJ = pair_weight(queries, rows, columns)
            gap_QIJ = score[:, None, columns] - score[:, rows, None]  # > 0: in the wrong order
            if signed:
                gap_QIJ.mul_(weight_QIJ.sign())
            size_QIJ = weight_QIJ.abs() if signed else weight_QIJ
            loss_Q[queries] += F.softplus(gap_QIJ).mul_(size_QIJ).sum((1, 2))
            if ctx.needs_input_grad[0]:
                pull_QIJ = gap_QIJ.sigmoid_().mul_(weight_QIJ)
                grad_QL[queries, columns] += pull_QIJ.sum(1)
                grad_QL[queries, rows] -= pull_QIJ.sum(2)
        ctx.save_for_backward(grad_QL)
        return loss_Q

    @staticmethod
    def backward(ctx: Any, grad_loss_Q: Tensor) -> tuple[Tensor, None, None, None]:
        raise_on_second_derivative()
        (grad_QL,) = ctx.saved_tensors
        return grad_QL * grad_loss_Q[:, None], None, None, None


class _SoftRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores_QL: Tensor) -> Tensor:
        ctx.save_for_backward(scores_QL)
        rank_QL = torch.full_like(scores_QL, 0.5)  # the document itself adds sigmoid(0)
        for queries, rows, columns in _all_pairs(scores_QL):
            score = scores_QL[queries]
            gap_QIJ = score[:, None, columns] - score[:, rows, None]
            rank_QL[queries, rows] += gap_QIJ.sigmoid_().sum(2)
        return rank_QL

    @staticmethod
    def backward(ctx: Any, grad_rank_QL: Tensor) -> Tensor:
        raise_on_second_derivative()
        (scores_QL,) = ctx.saved_tensors
        grad_QL = torch.empty_like(scores_QL)
        for queries, rows, columns in _all_pairs(scores_QL):
            score, weight = scores_QL[queries], grad_rank_QL[queries]
            # sigmoid' of the gap: symmetric in (i, j), and exact for large gaps
            slope_QIJ = (score[:, None, columns] - score[:, rows, None]).abs_().neg_().sigmoid_()
            slope_QIJ.addcmul_(slope_QIJ, slope_QIJ, value=-1)
            slope_QIJ.mul_(weight[:, None, columns] - weight[:, rows, None])
            grad_QL[queries, rows] = slope_QIJ.sum(2)
        return grad_QL


def raise_on_second_derivative(*_: Tensor) -> None:
    """Raise RuntimeError in a backward pass that is itself to be differentiated."""
    # once_differentiable would not notice: a second backward pass sees the saved gradient as a constant.
    if torch.is_grad_enabled():
        raise RuntimeError("ranking loss in blocks: no second derivative (create_graph=True)")


def _pairs_per_block(scores_QL: Tensor) -> int:
    return _CPU_BLOCK * torch.get_num_threads() if _on_cpu(scores_QL) else _GPU_BLOCK


def _on_cpu(tensor: Tensor) -> bool:
    """Return True where reading values is free; on other devices the host would wait for them."""
    return tensor.device.type == "cpu"


def _all_pairs(scores_QL: Tensor) -> Iterator[Block]:
    num_queries, num_documents = scores_QL.shape
    lengths = [num_documents] * num_queries
    return _blocks(lengths, lengths, _pairs_per_block(scores_QL), lambda queries, top: 0)


def _blocks(
    num_rows: list[int], num_columns: list[int], num_pairs: int, first_column: Callable[[slice, int], int]
) -> Iterator[Block]:
    """Yield blocks of at most `num_pairs` pairs that cover each query's rows from `first_column` on.

    A block extends over neighbouring queries while `_MIN_ROWS` rows of each fit; the smallest is a row of one query.
    """
    first = 0
    while first < len(num_rows):
        last, width = first, 1
        while last < len(num_rows):
            new_width = max(width, num_columns[last])
            if last > first and (last + 1 - first) * _MIN_ROWS * new_width > num_pairs:
                break
            last, width = last + 1, new_width
        top, height = 0, max(num_rows[first:last])
        while top < height:
            left = first_column(slice(first, last), top)
            bottom = min(height, top + max(1, num_pairs // ((last - first) * max(width - left, 1))))
            if left < width:
                yield slice(first, last), slice(top, bottom), slice(left, width)
            top = bottom
        first = last
