"""Builds the pairs of a contrastive loss: queries of this rank against items and negatives of all ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from lit_mlfund.losses.gather import gather_numbers, gather_rows


class Columns(NamedTuple):
    """Holds embeddings `[N, D]` that queries are scored against, with id, log_q and weight `[N]` if given."""

    embedding: Tensor
    id: Tensor | None = None
    log_q: Tensor | None = None
    weight: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Columns:
        """Apply `change` to every tensor that is not None."""
        embedding, *rest = self
        return Columns(change(embedding), *(None if part is None else change(part) for part in rest))


class Ids(NamedTuple):
    """Holds ids `[n]` of rows or columns and the item column `[n]` of each."""

    id: Tensor
    column: Tensor


@dataclass(frozen=True)
class Pairs:
    """Describes R queries of this rank against M columns: the items of all ranks, then extra negatives.

    positive     `[R]` column of each query's own item
    weight       `[R]` share of each query in the loss; sums to 1 over all ranks
    num_items    number of columns that are items
    chunk        number of queries per block
    row_ids      ids of the queries' own items; None: every pair counts
    column_ids   runs of columns with ids: rows and columns of equal id are no negatives of each other
    is_sorted    row_ids and the runs are ascending, so that equal ids are adjacent
    log_q        `[M]`, subtracted from the scores of each column
    item_weight  `[num_items]` share of each item in the item-to-query direction; None: queries to items only
    world_size   number of ranks
    """

    positive: Tensor
    weight: Tensor
    num_items: int
    chunk: int
    row_ids: Ids | None = None
    column_ids: tuple[Ids, ...] = ()
    is_sorted: bool = False
    log_q: Tensor | None = None
    item_weight: Tensor | None = None
    world_size: int = 1


def build_pairs(
    query_RD: Tensor,
    item: Columns,
    negative: Columns | None,
    world_size: int,
    symmetric: bool,
    chunk_size: int | None,
) -> tuple[Tensor, Tensor, Pairs]:
    """Return queries, columns of all ranks and their pairs, sorted by id where that saves work."""
    start = 0
    num_rows = len(query_RD)
    if world_size > 1:
        item, negative, start = _gather_columns(item, negative)
    num_items = len(item.embedding)
    num_columns = num_items + (0 if negative is None else len(negative.embedding))
    chunk = chunk_size or _default_chunk_size(num_columns, query_RD.device)
    positive = torch.arange(start, start + num_rows, device=query_RD.device)
    share = torch.ones_like(item.embedding[:, 0]) if item.weight is None else item.weight
    share = share / share.sum().clamp_min(torch.finfo(share.dtype).tiny)
    if symmetric:
        share = share / 2

    # Once sorted by id, only a narrow band of columns can share an id with a block of rows. All ranks sort alike.
    is_sorted = False
    if item.id is not None and chunk < num_columns:
        is_sorted = True
        order = item.id.argsort(stable=True)
        position = torch.empty_like(order).scatter_(0, order, torch.arange(num_items, device=order.device))
        rows = item.id[positive].argsort(stable=True)
        query_RD, positive = query_RD[rows], position[positive[rows]]
        item = item.map(lambda part: part.index_select(0, order))
        share = share[order]
        if negative is not None and negative.id is not None:
            negative_order = negative.id.argsort(stable=True)
            negative = negative.map(lambda part: part.index_select(0, negative_order))

    column = torch.arange(num_columns, device=query_RD.device)
    row_ids, column_ids = None, []
    if item.id is not None:
        row_ids = Ids(item.id[positive], positive)
        column_ids.append(Ids(item.id, column[:num_items]))
    if negative is not None and negative.id is not None:
        column_ids.append(Ids(negative.id, column[num_items:]))
    pairs = Pairs(
        positive=positive,
        weight=share[positive],
        num_items=num_items,
        chunk=chunk,
        row_ids=row_ids,
        column_ids=tuple(column_ids),
        is_sorted=is_sorted,
        log_q=_concatenate_log_q(item, negative),
        item_weight=share if symmetric else None,
        world_size=world_size,
    )
    columns = item.embedding if negative is None else torch.cat((item.embedding, negative.embedding))
    return query_RD, columns, pairs


def _default_chunk_size(num_columns: int, device: torch.device) -> int:
    """Return how many rows of scores fit a CPU's cache (1M scores) or keep a GPU busy (8M)."""
    return max(16, (2**20 if device.type == "cpu" else 2**23) // max(num_columns, 1))


def _concatenate_log_q(item: Columns, negative: Columns | None) -> Tensor | None:
    parts = [part for part in (item, negative) if part is not None]
    if all(part.log_q is None for part in parts):
        return None
    return torch.cat(
        [torch.zeros_like(part.embedding[:, 0]) if part.log_q is None else part.log_q for part in parts]
    ).detach()


def _gather_columns(item: Columns, negative: Columns | None) -> tuple[Columns, Columns | None, int]:
    """Gather the columns of all ranks; return them and the index of this rank's first item."""
    sizes = [len(item.embedding), 0 if negative is None else len(negative.embedding)]
    parts = [*item, *((None,) if negative is None else negative)]
    ranks = gather_numbers(
        [*sizes, item.embedding.shape[1], *(int(part is not None) for part in parts)], item.embedding.device
    )
    if any(rank[2:] != ranks[0][2:] for rank in ranks):
        raise ValueError(
            "gather: every rank must pass embeddings of one width and the same optional arguments; by rank, "
            f"widths are {[rank[2] for rank in ranks]} and arguments given {[rank[3:] for rank in ranks]}"
        )
    item_sizes, negative_sizes = [rank[0] for rank in ranks], [rank[1] for rank in ranks]
    if negative is not None:
        negative = negative.map(lambda part: gather_rows(part, negative_sizes))
    item = item.map(lambda part: gather_rows(part, item_sizes))
    return item, negative, sum(item_sizes[: dist.get_rank()])
