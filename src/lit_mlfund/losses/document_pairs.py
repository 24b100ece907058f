"""Sums over all pairs of documents of a query, block by block: no `[Q, L, L]` tensor is ever stored.

Each function forms its gradient by hand from blocks that fit the processor's cache; what waits for the
backward pass is `[Q, L]`. Gradients are of first order only; create_graph=True raises RuntimeError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_mlfund.losses.arguments import Lists

Block = tuple[slice, slice, slice]  # queries, rows, columns
PairWeight = Callable[[slice, slice, slice], Tensor]

_CPU_BLOCK = 2**16  # pairs per thread: 256 KiB a tensor, a handful of tensors stay in a second-level cache
_GPU_BLOCK = 2**19  # enough pairs to fill a GPU, still below 10 MB
_MIN_ROWS = 4  # of a block, before it takes in more queries: lower blocks waste less beside the diagonal


def padded(scores_QL: Tensor, lists: Lists) -> Tensor:
    """Scores with a huge negative, finite number on padding: logistic terms against it vanish exactly."""
    return lists.on_padding(scores_QL, -torch.finfo(scores_QL.dtype).max / 4)


def logistic_pair_sums(
    scores_QL: Tensor,
    pair_weight: PairWeight,
    first_QL: Tensor,
    num_documents_Q: Tensor,
    max_rows: int | None = None,
    two_way: bool = False,
) -> Tensor:
    """Per query the sum of w_ij · softplus(−(s_i − s_j)) over pairs of places i < j.

    scores_QL       `padded` scores, real documents first
    pair_weight     (queries, rows, columns) -> a new `[q, i, j]` tensor, 0 where j <= i and between paddings
    first_QL        the first j > i with w_ij ≠ 0: earlier ones are left out (on a CPU: no waiting for a GPU)
    num_documents_Q real documents
    max_rows        only pairs with i < max_rows; None: all
    two_way         a negative weight −w says that j belongs above i: w · softplus(−(s_j − s_i))
    """
    num_queries, length = scores_QL.shape
    height = length if max_rows is None else min(max_rows, length)
    if _on_cpu(scores_QL):
        useful_QL = first_QL[:, :height] < num_documents_Q[:, None]
        num_rows, num_columns = useful_QL.sum(1).tolist(), num_documents_Q.tolist()

        def left(queries: slice, top: int) -> int:
            return int(first_QL[queries, top].min())
    else:
        num_rows, num_columns = [height] * num_queries, [length] * num_queries

        def left(queries: slice, top: int) -> int:
            return top

    blocks = _blocks(num_rows, num_columns, _pairs_at_a_time(scores_QL), left)
    return _LogisticPairSums.apply(scores_QL, pair_weight, blocks, two_way)


def soft_ranks(scores_QL: Tensor) -> Tensor:
    """A differentiable rank, 1 + Σ_{j≠i} sigmoid(s_j − s_i), of each document; `scores_QL` are `padded`.

    The ranks of padding are finite and mean nothing.
    """
    return _SoftRanks.apply(scores_QL)


class _LogisticPairSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores_QL: Tensor, pair_weight: PairWeight, blocks: Iterator[Block], two_way: bool
    ) -> Tensor:
        loss_Q = scores_QL.new_zeros(scores_QL.shape[0])
        grad_QL = torch.zeros_like(scores_QL)
        for queries, rows, columns in blocks:
            score = scores_QL[queries]
            weight_QIJ = pair_weight(queries, rows, columns)
            gap_QIJ = score[:, None, columns] - score[:, rows, None]  # > 0: the wrong way round
            if two_way:
                gap_QIJ.mul_(weight_QIJ.sign())
            size_QIJ = weight_QIJ.abs() if two_way else weight_QIJ
            loss_Q[queries] += F.softplus(gap_QIJ).mul_(size_QIJ).sum((1, 2))
            if ctx.needs_input_grad[0]:
                pull_QIJ = gap_QIJ.sigmoid_().mul_(weight_QIJ)
                grad_QL[queries, columns] += pull_QIJ.sum(1)
                grad_QL[queries, rows] -= pull_QIJ.sum(2)
        ctx.save_for_backward(grad_QL)
        return loss_Q

    @staticmethod
    def backward(ctx: Any, grad_loss_Q: Tensor) -> tuple[Tensor, None, None, None]:
        refuse_second_derivative()
        (grad_QL,) = ctx.saved_tensors
        return grad_QL * grad_loss_Q[:, None], None, None, None


class _SoftRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores_QL: Tensor) -> Tensor:
        ctx.save_for_backward(scores_QL)
        rank_QL = torch.full_like(scores_QL, 0.5)  # the document itself adds sigmoid(0)
        for queries, rows, columns in _squares(scores_QL):
            score = scores_QL[queries]
            gap_QIJ = score[:, None, columns] - score[:, rows, None]
            rank_QL[queries, rows] += gap_QIJ.sigmoid_().sum(2)
        return rank_QL

    @staticmethod
    def backward(ctx: Any, grad_rank_QL: Tensor) -> Tensor:
        refuse_second_derivative()
        (scores_QL,) = ctx.saved_tensors
        grad_QL = torch.empty_like(scores_QL)
        for queries, rows, columns in _squares(scores_QL):
            score, weight = scores_QL[queries], grad_rank_QL[queries]
            # sigmoid' of the gap, the same for (i, j) and (j, i) and exact for large ones
            slope_QIJ = (score[:, None, columns] - score[:, rows, None]).abs_().neg_().sigmoid_()
            slope_QIJ.addcmul_(slope_QIJ, slope_QIJ, value=-1)
            slope_QIJ.mul_(weight[:, None, columns] - weight[:, rows, None])
            grad_QL[queries, rows] = slope_QIJ.sum(2)
        return grad_QL


def refuse_second_derivative(*_: Tensor) -> None:
    """Raise in a backward pass that is itself to be differentiated."""
    # once_differentiable would not notice: to a second backward pass the saved gradient is a constant.
    if torch.is_grad_enabled():
        raise RuntimeError("ranking loss in blocks: no second derivative (create_graph=True)")


def _pairs_at_a_time(scores_QL: Tensor) -> int:
    return _CPU_BLOCK * torch.get_num_threads() if _on_cpu(scores_QL) else _GPU_BLOCK


def _on_cpu(tensor: Tensor) -> bool:
    """Whether looking at values is free; on other devices the host would wait for them."""
    return tensor.device.type == "cpu"


def _squares(scores_QL: Tensor) -> Iterator[Block]:
    num_queries, num_documents = scores_QL.shape
    every = [num_documents] * num_queries
    return _blocks(every, every, _pairs_at_a_time(scores_QL), lambda queries, top: 0)


def _blocks(
    num_rows: list[int], num_columns: list[int], num_pairs: int, first_column: Callable[[slice, int], int]
) -> Iterator[Block]:
    """Blocks of at most `num_pairs` pairs that cover each query's rows from `first_column` on.

    A block takes in neighbouring queries while `_MIN_ROWS` rows of them fit; the least is a row of one query.
    """
    first = 0
    while first < len(num_rows):
        last, width = first, 1
        while last < len(num_rows):
            wider = max(width, num_columns[last])
            if last > first and (last + 1 - first) * _MIN_ROWS * wider > num_pairs:
                break
            last, width = last + 1, wider
        top, height = 0, max(num_rows[first:last])
        while top < height:
            left = first_column(slice(first, last), top)
            bottom = min(height, top + max(1, num_pairs // ((last - first) * max(width - left, 1))))
            if left < width:
                yield slice(first, last), slice(top, bottom), slice(left, width)
            top = bottom
        first = last
