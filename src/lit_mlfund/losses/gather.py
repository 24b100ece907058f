"""Rows of all ranks on every rank, with gradient: what lets N processes equal one on the joint batch.

Convention: DDP and FSDP *average* gradients over ranks. A loss over gathered rows therefore gives every
rank world-size times its own part of the joint gradient; the average is that of one process on the joint
batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks of the default process group; 1 where torch.distributed is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_numbers(numbers: list[int], device: torch.device) -> list[list[int]]:
    """The same short list of integers from every rank, in rank order: sizes, flags."""
    mine = torch.tensor(numbers, dtype=torch.int64, device=device)
    theirs = [torch.empty_like(mine) for _ in range(world_size())]
    dist.all_gather(theirs, mine)
    return torch.stack(theirs).tolist()


def gather_rows(rows: Tensor, sizes: list[int]) -> Tensor:
    """The rows of all ranks, joined in rank order; gradients of all ranks are summed on the way back.

    rows   `[n, …]`, n may differ by rank, also 0
    sizes  n of every rank (from `gather_numbers`); all ranks run backward, or none
    Returns `[sum(sizes), …]`.
    """
    return _GatherRows.apply(rows, sizes)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        rank = dist.get_rank()
        ctx.start, ctx.size = sum(sizes[:rank]), sizes[rank]
        # The collectives want equal shapes: pad to the largest rank, cut after.
        mine = rows.new_zeros(max(sizes), *rows.shape[1:])
        mine[: len(rows)] = rows
        theirs = [torch.empty_like(mine) for _ in sizes]
        dist.all_gather(theirs, mine)
        return torch.cat([part[:size] for part, size in zip(theirs, sizes)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[ctx.start : ctx.start + ctx.size], None
