"""Serves one long sequence in windows of a fixed length with the next token as each position's target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from lit_mlfund.data.serving.batch import Movable, PointBatch


@dataclass(frozen=True)
class WindowStore(Movable):
    """Stores W windows of T positions over `tokens [N]` (uint8 or int32); window w begins at `start[w]`.

    `scored [W]` is how many of its last positions are scored, the others being context; None: all T. The windows of
    `strided` overlap and are for training; those of `scored_once` score each token but the first exactly once.
    """

    tokens: Tensor
    start: Tensor
    length: int
    scored: Tensor | None = None

    @classmethod
    def strided(cls, tokens: Tensor, length: int, stride: int) -> Self:
        """Start a window at every `stride`-th token; raise ValueError for fewer than `length` + 1 tokens."""
        return cls(tokens, _starts(len(tokens), length, stride), length)

    @classmethod
    def scored_once(cls, tokens: Tensor, length: int) -> Self:
        """Build windows whose second half is scored (of the first window, all), so that tokens have context.

        A token sees at most `length` tokens and at least half as many, except at the start of the text. Raises
        ValueError as `strided` does.
        """
        start = _starts(len(tokens), length, max(1, length // 2))
        return cls(tokens, start, length, start.diff(prepend=torch.tensor([-length])))

    def subset(self, windows: slice) -> Self:
        """Return some of the windows, over the same text."""
        return replace(
            self,
            start=self.start[windows],
            scored=None if self.scored is None else self.scored[windows],
        )

    def __len__(self) -> int:
        return len(self.start)

    def batch(self, index: Tensor) -> PointBatch:
        """Return the windows at `index [B]`: `x["tokens"]` and `y` are `[B, T]`, `weight [B, T]` is 0 on context.

        `index` of the batch is the position of a window's first target in the text.
        """
        start = self.start.index_select(0, index)
        position = start[:, None] + torch.arange(self.length + 1, device=start.device)
        ids = self.tokens[position].long()
        weight = None
        if self.scored is not None:
            context = self.length - self.scored.index_select(0, index)
            weight = (torch.arange(self.length, device=start.device) >= context[:, None]).float()
        return PointBatch({"tokens": ids[:, :-1]}, ids[:, 1:], weight, start + 1)


def _starts(num_tokens: int, length: int, stride: int) -> Tensor:
    """Return 0, stride, 2 stride, …, and the last start at which a window and its targets fit."""
    last = num_tokens - length - 1
    if last < 0:
        raise ValueError(f"{num_tokens} tokens are fewer than a window of {length} and its last target")
    start = torch.arange(0, last + 1, stride)
    return start if start[-1] == last else torch.cat([start, torch.tensor([last])])
