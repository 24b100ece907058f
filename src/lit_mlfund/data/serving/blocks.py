"""Shuffles rows with locality on disk: first the blocks, then the rows of several blocks together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Takes the rows of a window, the number of rows before it and a generator; returns the rows in their final order.
Arrange = Callable[[Tensor, int, torch.Generator], Tensor]
WINDOW = 64  # blocks whose rows are mixed: a batch draws from as many places of the file


@dataclass(frozen=True)
class BlockOrder:
    """Generates the rows 0 … size - 1 in an order drawn from a seed, one window at a time.

    `block` neighbouring rows stay in one window of `window` blocks drawn from the whole file; within a window all
    orders are equally likely. Only one window of rows is in memory, whatever the size, and the order can start
    anywhere without generating what comes before.
    """

    size: int
    block: int
    window: int = WINDOW

    def rows(self, seed: int, start: int = 0, arrange: Arrange | None = None) -> Iterator[Tensor]:
        """Yield the order from position `start` on, in int64 pieces `[n]`, one for each window.

        `arrange` may reorder the shuffled rows of a window.
        """
        blocks = torch.randperm(-(-self.size // self.block), generator=torch.Generator().manual_seed(seed))
        before = 0
        for number, window in enumerate(blocks.split(self.window)):
            begin = window * self.block
            length = (self.size - begin).clamp(max=self.block)
            total = int(length.sum())
            before += total
            if start >= total:
                start -= total
                continue
            rows = (begin[:, None] + torch.arange(self.block)).view(-1)
            rows = rows[rows < self.size] if total < len(rows) else rows
            generator = torch.Generator().manual_seed((seed + (number + 1) * 0x9E3779B97F4A7C15) % 2**63)
            rows = rows.index_select(0, torch.randperm(total, generator=generator))
            yield (arrange(rows, before - total, generator) if arrange else rows)[start:]
            start = 0


def regroup(pieces: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Yield the same rows in groups of `size`, the last one shorter."""
    remainder = torch.empty(0, dtype=torch.int64)
    for piece in pieces:
        joined = torch.cat([remainder, piece]) if len(remainder) else piece
        whole = len(joined) - len(joined) % size
        yield from joined[:whole].split(size) if whole else ()
        remainder = joined[whole:]
    if len(remainder):
        yield remainder
