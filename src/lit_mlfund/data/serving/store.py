"""Holds a whole split in memory and serves it as batches by index: no per-row objects, no collate.

A store is anything with `len(store)` and `store.batch(index)`, so one that streams from disk can take its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from lit_mlfund.data.serving.batch import Batch, Inputs, ListBatch, Movable, PairBatch, PointBatch

BatchT = TypeVar("BatchT", bound=Batch, covariant=True)


class Store(Protocol[BatchT]):
    """Provides `len(store)` examples (queries for lists); `batch(index)` gathers those at any int64 `[B]`."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> BatchT: ...

    def to(self, device: str | torch.device) -> Store[BatchT]: ...


@dataclass(frozen=True)
class PointStore(Movable):
    """Stores N examples: `x[name] [N, …]`, `y [N]`, `weight [N]`; `index [N]` is the row of the file."""

    x: Inputs
    y: Tensor
    weight: Tensor | None = None
    index: Tensor | None = None

    def __post_init__(self) -> None:
        _same_length(self.y.shape[0], weight=self.weight, index=self.index, **self.x)

    def __len__(self) -> int:
        return self.y.shape[0]

    def batch(self, index: Tensor) -> PointBatch:
        """Return the examples at `index [B]`."""
        return PointBatch(
            _take(self.x, index),
            self.y.index_select(0, index),
            None if self.weight is None else self.weight.index_select(0, index),
            index if self.index is None else self.index.index_select(0, index),
        )

    def take(self, index: Tensor) -> Self:
        """Return a store of the examples at `index [B]` alone."""
        return replace(
            self,
            x=_take(self.x, index),
            y=self.y[index],
            weight=None if self.weight is None else self.weight[index],
            index=index if self.index is None else self.index[index],
        )

    def slice(self, start: int, stop: int) -> PointBatch:
        """Return the examples from `start` to `stop` as views: modifying the batch modifies the store."""
        return PointBatch(
            {name: values[start:stop] for name, values in self.x.items()},
            self.y[start:stop],
            None if self.weight is None else self.weight[start:stop],
            torch.arange(start, min(stop, len(self)), device=self.y.device)
            if self.index is None
            else self.index[start:stop],
        )


@dataclass(frozen=True)
class ListStore(Movable):
    """Stores Q queries whose documents are adjacent in N rows.

    x[name] [N, …], relevance [N], index [N] (row of the file); the documents of query q are the rows from
    `offsets[q]` to `offsets[q + 1]` of `offsets [Q + 1]`. `weight [Q]` is the query's.
    """

    x: Inputs
    relevance: Tensor
    offsets: Tensor
    weight: Tensor | None = None
    index: Tensor | None = None

    def __post_init__(self) -> None:
        size = self.relevance.shape[0]
        _same_length(size, index=self.index, **self.x)
        _same_length(len(self), weight=self.weight)
        if self.offsets[0] != 0 or self.offsets[-1] != size or bool((self.lengths < 0).any()):
            raise ValueError(f"offsets must rise from 0 to {size}, the number of documents")

    def __len__(self) -> int:
        return self.offsets.shape[0] - 1

    @property
    def lengths(self) -> Tensor:
        """Return the number of documents of each query `[Q]`."""
        return self.offsets.diff()

    def take(self, index: Tensor) -> Self:
        """Return a store of the queries at `index [Q]` alone."""
        length = self.lengths[index]
        offsets = torch.cat([length.new_zeros(1), length.cumsum(0)])
        first = self.offsets[index] - offsets[:-1]
        rows = torch.arange(int(offsets[-1]), device=index.device) + first.repeat_interleave(length)
        return replace(
            self,
            x=_take(self.x, rows),
            relevance=self.relevance[rows],
            offsets=offsets,
            weight=None if self.weight is None else self.weight[index],
            index=rows if self.index is None else self.index[rows],
        )

    def batch(self, index: Tensor) -> ListBatch:
        """Return the queries at `index [Q]`, padded with zeros to the longest of them."""
        start = self.offsets.index_select(0, index)
        length = self.offsets.index_select(0, index + 1) - start
        position = torch.arange(int(length.max()) if len(index) else 0, device=index.device)
        mask = position < length[:, None]
        rows = torch.where(mask, start[:, None] + position, 0)

        def gather(values: Tensor, padding: float = 0) -> Tensor:
            taken = values.index_select(0, rows.view(-1)).view(*rows.shape, *values.shape[1:])
            return taken.masked_fill_(~mask.view(*mask.shape, *(1,) * (values.ndim - 1)), padding)

        return ListBatch(
            {name: gather(values) for name, values in self.x.items()},
            gather(self.relevance),
            mask,
            index,
            None if self.weight is None else self.weight.index_select(0, index),
            rows.masked_fill(~mask, -1) if self.index is None else gather(self.index, -1),
        )


@dataclass(frozen=True)
class PairStore(Movable):
    """Stores P positive (query, item) pairs over a table of queries and a table of items, the corpus.

    query[name] [Nq, …] and item[name] [I, …]; pair p joins row `query_row[p]` of the first with row
    `item_id[p]` of the second. `query_id [P]` identifies pairs that share a query (default: `query_row`),
    `log_q [I]` is the log of each item's sampling probability, `weight [P]` and `index [P]` (row of the file)
    are the pair's.
    """

    query: Inputs
    item: Inputs
    query_row: Tensor
    item_id: Tensor
    query_id: Tensor | None = None
    log_q: Tensor | None = None
    weight: Tensor | None = None
    index: Tensor | None = None

    def __post_init__(self) -> None:
        pairs = self.item_id.shape[0]
        _same_length(
            pairs, query_row=self.query_row, query_id=self.query_id, weight=self.weight, index=self.index
        )
        _same_length(self.num_items, log_q=self.log_q, **self.item)

    def __len__(self) -> int:
        return self.item_id.shape[0]

    @property
    def num_items(self) -> int:
        """Return I, the size of the corpus."""
        return next(iter(self.item.values())).shape[0]

    def batch(self, index: Tensor) -> PairBatch:
        """Return the pairs at `index [B]`."""
        row = self.query_row.index_select(0, index)
        item = self.item_id.index_select(0, index)
        return PairBatch(
            _take(self.query, row),
            _take(self.item, item),
            item,
            row if self.query_id is None else self.query_id.index_select(0, index),
            log_q=None if self.log_q is None else self.log_q.index_select(0, item),
            weight=None if self.weight is None else self.weight.index_select(0, index),
            index=index if self.index is None else self.index.index_select(0, index),
        )


def _take(inputs: Inputs, index: Tensor) -> Inputs:
    return {name: values.index_select(0, index) for name, values in inputs.items()}


def _same_length(size: int, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and tensor.shape[0] != size:
            raise ValueError(f"{name} has {tensor.shape[0]} rows, expected {size}")
