"""The pairs that a contrastive loss sees: queries of this rank against items and negatives of all ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from lit_mlfund.losses.gather import gather_numbers, gather_rows


class Columns(NamedTuple):
    """Embeddings `[N, D]` that queries are scored against, with what is known of each `[N]`."""

    embedding: Tensor
    id: Tensor | None = None
    log_q: Tensor | None = None
    weight: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Columns:
        """The same change to every tensor that is there."""
        embedding, *rest = self
        return Columns(change(embedding), *(None if part is None else change(part) for part in rest))


class Ids(NamedTuple):
    """Ids `[n]` of rows or columns, and the item column `[n]` that each belongs to."""

    id: Tensor
    column: Tensor


@dataclass(frozen=True)
class Pairs:
    """R queries of this rank against M columns: the items of all ranks, then extra negatives.

    positive     `[R]` column of each query's own item
    weight       `[R]` share of each query in the loss; sums to 1 over all ranks
    num_items    columns that are items
    chunk        queries at a time
    row_ids      ids of the queries' own items; None: every pair counts
    column_ids   runs of columns with ids: rows and columns of equal ids are no negatives of each other
    is_sorted    row_ids and the runs ascend, so that equal ids are neighbours
    log_q        `[M]`, subtracted from each column's scores
    item_weight  `[num_items]` share of each item in the item-to-query direction; None: one-sided
    world        number of ranks
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
    world: int = 1


def lay_out(
    query_RD: Tensor,
    item: Columns,
    negative: Columns | None,
    world: int,
    symmetric: bool,
    chunk_size: int | None,
) -> tuple[Tensor, Tensor, Pairs]:
    """Queries, columns and pairs; columns are joined over ranks, all is sorted by id where it saves work."""
    start = 0
    num_rows = len(query_RD)
    if world > 1:
        item, negative, start = _join(item, negative)
    num_items = len(item.embedding)
    num_columns = num_items + (0 if negative is None else len(negative.embedding))
    chunk = chunk_size or _auto_chunk(num_columns, query_RD.device)
    positive = torch.arange(start, start + num_rows, device=query_RD.device)
    share = torch.ones_like(item.embedding[:, 0]) if item.weight is None else item.weight
    share = share / share.sum().clamp_min(torch.finfo(share.dtype).tiny)
    if symmetric:
        share = share / 2

    # Sorted by id, only a narrow band of columns can share an id with a block of rows. All ranks sort alike.
    is_sorted = False
    if item.id is not None and chunk < num_columns:
        is_sorted = True
        order = item.id.argsort(stable=True)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(num_items, device=order.device))
        rows = item.id[positive].argsort(stable=True)
        query_RD, positive = query_RD[rows], place[positive[rows]]
        item = item.map(lambda part: part.index_select(0, order))
        share = share[order]
        if negative is not None and negative.id is not None:
            negative_order = negative.id.argsort(stable=True)
            negative = negative.map(lambda part: part.index_select(0, negative_order))

    number = torch.arange(num_columns, device=query_RD.device)
    row_ids, column_ids = None, []
    if item.id is not None:
        row_ids = Ids(item.id[positive], positive)
        column_ids.append(Ids(item.id, number[:num_items]))
    if negative is not None and negative.id is not None:
        column_ids.append(Ids(negative.id, number[num_items:]))
    pairs = Pairs(
        positive=positive,
        weight=share[positive],
        num_items=num_items,
        chunk=chunk,
        row_ids=row_ids,
        column_ids=tuple(column_ids),
        is_sorted=is_sorted,
        log_q=_joint_log_q(item, negative),
        item_weight=share if symmetric else None,
        world=world,
    )
    columns = item.embedding if negative is None else torch.cat((item.embedding, negative.embedding))
    return query_RD, columns, pairs


def _auto_chunk(num_columns: int, device: torch.device) -> int:
    """Rows whose scores fit a CPU's cache (1M scores), or keep a GPU busy (8M)."""
    return max(16, (2**20 if device.type == "cpu" else 2**23) // max(num_columns, 1))


def _joint_log_q(item: Columns, negative: Columns | None) -> Tensor | None:
    parts = [part for part in (item, negative) if part is not None]
    if all(part.log_q is None for part in parts):
        return None
    return torch.cat(
        [torch.zeros_like(part.embedding[:, 0]) if part.log_q is None else part.log_q for part in parts]
    ).detach()


def _join(item: Columns, negative: Columns | None) -> tuple[Columns, Columns | None, int]:
    """The columns of all ranks, and where this rank's items begin in them."""
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
