"""An order of rows that is near the disk's: blocks are shuffled, then the rows of several blocks together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Arrange = Callable[[Tensor, int, torch.Generator], Tensor]
WINDOW = 64  # blocks whose rows are mixed: as many places of the file meet in one batch


@dataclass(frozen=True)
class BlockOrder:
    """The rows 0 … size - 1 in an order drawn from a seed, made a window at a time.

    `block` neighbouring rows stay in one window of `window` blocks drawn from the whole file; within a window all
    orders are equally likely. Memory is that of a window, whatever the size, and any place of the order is
    found without making what lies before it.
    """

    size: int
    block: int
    window: int = WINDOW

    def rows(self, seed: int, start: int = 0, arrange: Arrange | None = None) -> Iterator[Tensor]:
        """The order from its row `start` on, in int64 pieces `[n]`, one for each window.

        `arrange` has the last word on a window: from its rows, how many come before it, and a generator.
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
    """The same rows in groups of `size`, the last one shorter."""
    left = torch.empty(0, dtype=torch.int64)
    for piece in pieces:
        joined = torch.cat([left, piece]) if len(left) else piece
        whole = len(joined) - len(joined) % size
        yield from joined[:whole].split(size) if whole else ()
        left = joined[whole:]
    if len(left):
        yield left
