"""Serves whole batches by index from a store: does what a DataLoader does, without its cost per row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from types import SimpleNamespace
from typing import Any, Generic

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lit_mlfund.data.serving.blocks import Arrange, BlockOrder, regroup
from lit_mlfund.data.serving.store import BatchT, PointStore, Store


class BatchLoader(Generic[BatchT]):
    """Iterates over a known number of batches, whose order in epoch e is a function of (seed, e) alone.

    batch_size     examples (queries for lists) per batch and rank
    shuffle        a new order each epoch; also marks training: every rank then gets equally many rows (the
                   order is wrapped around to a multiple of the world size). Without it no row is served
                   twice, and rank r has the rows r, r + world_size, …, in as many batches as every other rank
    drop_last      drop the last batch if it is not full
    lengths        [N] sizes of the examples: those of similar size share a batch, so that padding stays small
                   (only when shuffling)
    block          this many neighbouring rows stay near each other when shuffling (see `BlockOrder`), for a store on
                   disk; the order is then never in memory as a whole
    device         where the batches are; the store moves there once, as a whole

    Each pass is the next epoch; `set_epoch` chooses one. `state_dict` holds the epoch and the number of its
    batches that were served; after `load_state_dict` the first pass serves the rest of that epoch. `len` is
    always that of a whole epoch.
    """

    def __init__(
        self,
        store: Store[BatchT],
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        lengths: Tensor | None = None,
        block: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        device: str | torch.device | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0 … {world_size - 1}, got {rank}")
        self.store = store if device is None else store.to(device)
        self.device = device
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.lengths = lengths
        self.block = block
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.position = 0
        self._next = (0, 0)  # epoch and batch that the next pass starts at

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """Return an object through which Lightning calls `loader.batch_sampler.sampler.set_epoch`.

        There is no `loader.sampler`: Lightning's other look-ups use that one, and would replace it. The object is
        created on each access: stored, it would make a reference cycle, and the data would stay in memory until the
        cycle is collected.
        """
        return SimpleNamespace(sampler=self)

    def __len__(self) -> int:
        rows = len(self.store)
        if not self.shuffle:
            local_rows = len(range(self.rank, rows, self.world_size))
            if self.block is None and not self.drop_last:
                return min(local_rows, -(-rows // (self.world_size * self.batch_size)))
            rows = local_rows
        else:
            rows = rows // self.world_size if self.drop_last else -(-rows // self.world_size)
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[BatchT]:
        # A generator: nothing is decided before the first batch, as Lightning sets the epoch after iter().
        self.epoch, self.position = self._next
        self._next = (self.epoch + 1, 0)
        if begin := getattr(self.store, "begin_pass", None):
            begin()
        if self._can_serve_views():
            yield from self._views()
            return
        batches = self.order(self.epoch)[self.position :] if self.block is None else self._block_batches()
        for index in batches:
            self.position += 1
            yield self.store.batch(index)

    def _can_serve_views(self) -> bool:
        """Return whether batches are adjacent rows of plain tensors; copying those takes as long as a small model."""
        in_order = not self.shuffle and self.block is None and self.world_size == 1
        # other stores compute what they serve; inference tensors have no version counter
        return in_order and type(self.store) is PointStore and not self.store.y.is_inference()

    def _views(self) -> Iterator[Any]:
        """Yield the rest of this epoch: the first batch as a copy, the others as views if it was not modified.

        A model may modify its inputs in place, which must not change the store and so the next epoch.
        """
        assert isinstance(self.store, PointStore)
        size, copying = self.batch_size, True
        for start in range(self.position * size, min(len(self) * size, len(self.store)), size):
            batch = self.store.slice(start, start + size)
            if copying:
                with torch.inference_mode(False):
                    batch = pytree.tree_map_only(Tensor, torch.clone, batch)
            versions = _versions(batch)
            self.position += 1
            yield batch
            if _versions(batch) == versions:
                copying = False
            elif not copying:
                raise RuntimeError(
                    "the model changed this batch in place but not the first one; clone the inputs first: x = x.clone()"
                )

    def order(self, epoch: int) -> list[Tensor]:
        """Return the positions in the store that make up each batch of this rank in `epoch`."""
        size = len(self.store)
        if not self.shuffle:
            rows = torch.arange(size, device=self.device)[self.rank :: self.world_size]
            batches = list(rows.split(self.batch_size))
            if len(batches) < len(self):  # another rank has one row more, which makes one more batch
                batches = list(rows.tensor_split(len(self)))
        else:
            generator = torch.Generator().manual_seed(_mix_seed(self.seed, epoch))
            order = torch.randperm(size, generator=generator)
            global_batch_size = self.batch_size * self.world_size
            if self.lengths is not None:
                order = _bucket(order, self.lengths, global_batch_size, generator)
            if self.drop_last:
                order = order[: size - size % self.world_size]
            elif size % self.world_size:
                order = order[torch.arange(-(-size // self.world_size) * self.world_size) % size]
            order = order.to(
                self.device or order.device
            )  # at once: a copy for each batch costs as much as a small step
            # Step s of all ranks together is what one process with the global batch size would see.
            batches = [part[self.rank :: self.world_size] for part in order.split(global_batch_size)]
        return batches[: len(self)]

    def _block_batches(self) -> Iterator[Tensor]:
        """Yield the rest of this epoch's order batch by batch, for a store that may be larger than memory."""
        assert self.block is not None
        size, rank, world_size = len(self.store), self.rank, self.world_size
        global_batch_size = self.batch_size * world_size
        if self.shuffle:
            order = BlockOrder(size, self.block)
            seed = _mix_seed(self.seed, self.epoch)
            start = self.position * global_batch_size
            pieces = order.rows(seed, start, self._length_bucketing(global_batch_size))
            if missing := 0 if self.drop_last else -size % world_size:
                first = next(order.rows(seed))
                pieces = chain(pieces, [first[torch.arange(missing) % len(first)]])
            groups = regroup(pieces, global_batch_size)
        else:
            starts = range(self.position * global_batch_size, size, global_batch_size)
            groups = (torch.arange(start, min(start + global_batch_size, size)) for start in starts)
        for group in islice(groups, len(self) - self.position):
            index = group if world_size == 1 else group[rank::world_size]
            yield index if self.device is None else index.to(self.device)

    def _length_bucketing(self, global_batch_size: int) -> Arrange | None:
        """Return a function that puts examples of similar size within a window into one global batch."""
        if (lengths := self.lengths) is None:
            return None

        def arrange(rows: Tensor, before: int, generator: torch.Generator) -> Tensor:
            head = -before % global_batch_size  # completes the last batch of the previous window
            return torch.cat([rows[:head], _bucket(rows[head:], lengths, global_batch_size, generator)])

        return arrange

    def set_epoch(self, epoch: int) -> None:
        """Start the next pass at the beginning of `epoch`; do nothing if it is in that epoch already."""
        if epoch != self._next[0]:
            self._next = (epoch, 0)

    def state_dict(self) -> dict[str, int]:
        """Return the `epoch` of this loader and the `position` in it: the number of batches that were served."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue in the next pass where `state` was taken (with the next epoch if that one was complete)."""
        epoch, position = int(state["epoch"]), int(state["position"])
        self.epoch, self.position = epoch, position
        self._next = (epoch, position) if position < len(self) else (epoch + 1, 0)


def _versions(batch: Any) -> list[int]:
    """Return how often each tensor was written to, without inference tensors (row numbers made for the batch)."""
    parts = (part for part in pytree.tree_leaves(batch) if isinstance(part, Tensor))
    return [part._version for part in parts if not part.is_inference()]


def _mix_seed(seed: int, epoch: int) -> int:
    """Mix two numbers into one 63-bit seed: neighbouring seeds must not share epochs."""
    state = (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    return (state ^ (state >> 31)) >> 1


def _bucket(
    order: Tensor, lengths: Tensor, batch_size: int, generator: torch.Generator, window: int = 32
) -> Tensor:
    """Sort every `window` batches of `order` by length, then shuffle the batches; a short one stays last."""
    parts = [
        part[lengths[part].argsort(stable=True)].split(batch_size)
        for part in order.split(window * batch_size)
    ]
    batches = [batch for part in parts for batch in part]
    full = sum(len(batch) == batch_size for batch in batches)
    shuffled = torch.randperm(full, generator=generator).tolist()
    return torch.cat([batches[i] for i in shuffled] + batches[full:]) if batches else order
