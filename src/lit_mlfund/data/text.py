"""Stores of token ids: kept narrow in memory, served without the padding that a batch does not need."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lit_mlfund.data.batch import Inputs, PairBatch, PointBatch
from lit_mlfund.data.store import PairStore, PointStore


def trim(inputs: Inputs) -> Inputs:
    """The same inputs, token ids (what is int32 `[B, T]`) as int64 and cut to the longest row of them.

    The ids of a row stand before its padding zeros; at least one column stays.
    """
    return {
        name: values[:, : _longest(values)].long() if values.dtype == torch.int32 else values
        for name, values in inputs.items()
    }


def _longest(ids: Tensor) -> int:
    used = (ids != 0).any(0).nonzero()
    return int(used[-1]) + 1 if len(used) else 1


@dataclass(frozen=True)
class TextStore(PointStore):
    """A `PointStore` whose int32 inputs are token ids; the loader puts texts of similar length together."""

    @property
    def lengths(self) -> Tensor:
        """Tokens of each example `[N]`."""
        ids = [values for values in self.x.values() if values.dtype == torch.int32]
        return torch.stack([(values != 0).sum(1) for values in ids]).sum(0)

    def batch(self, index: Tensor) -> PointBatch:
        """The examples at `index [B]`, token ids int64 `[B, T]` with T the longest of the batch."""
        batch = super().batch(index)
        return replace(batch, x=trim(batch.x))


@dataclass(frozen=True)
class TextPairStore(PairStore):
    """A `PairStore` whose int32 inputs are token ids, of queries or of items."""

    def batch(self, index: Tensor) -> PairBatch:
        """The pairs at `index [B]`, token ids int64 and as short as the batch allows."""
        batch = super().batch(index)
        return replace(batch, query=trim(batch.query), item=trim(batch.item))
