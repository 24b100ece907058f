"""Gathers rows of all ranks on every rank, with gradient, so that N processes equal one on the joint batch.

DDP and FSDP *average* gradients over ranks. A loss over gathered rows therefore gives every rank world-size times its
own part of the joint gradient; the average then equals the gradient of one process on the joint batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of ranks of the default process group; 1 if torch.distributed is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_numbers(numbers: list[int], device: torch.device) -> list[list[int]]:
    """Return the `numbers` (sizes, flags; equally many on each rank) of every rank, in rank order."""
    local = torch.tensor(numbers, dtype=torch.int64, device=device)
    gathered = [torch.empty_like(local) for _ in range(world_size())]
    dist.all_gather(gathered, local)
    return torch.stack(gathered).tolist()


def gather_rows(rows: Tensor, sizes: list[int]) -> Tensor:
    """Concatenate the rows of all ranks in rank order; the backward pass sums the gradients of all ranks.

    rows   `[n, …]`; n may differ between ranks and be 0
    sizes  n of every rank (from `gather_numbers`); either all ranks run backward, or none
    Returns `[sum(sizes), …]`.
    """
    return _GatherRows.apply(rows, sizes)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        rank = dist.get_rank()
        ctx.start, ctx.size = sum(sizes[:rank]), sizes[rank]
        # Collectives need equal shapes: pad to the largest rank, then cut.
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(gathered, padded)
        return torch.cat([part[:size] for part, size in zip(gathered, sizes)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[ctx.start : ctx.start + ctx.size], None
