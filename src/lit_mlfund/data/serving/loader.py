"""Whole batches by index from a store: what a DataLoader does, without its price per row."""

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
    """A sized iterable of batches whose order in epoch e is a function of (seed, e) alone.

    batch_size     examples (queries for lists) per batch and rank
    shuffle        a new order each epoch; also marks training: every rank then gets equally many rows (the
                   order is wrapped around to a multiple of the world size). Without it no row is served
                   twice, and the rows of rank r are r, r + world_size, …, in as many batches as the others have
    drop_last      leave out a last batch that is not full
    lengths        [N] sizes of the examples: those of similar size share a batch, so that padding stays small
                   (only when shuffling)
    block          this many neighbouring rows stay near each other when shuffling (see `BlockOrder`), for a store on
                   a disk; the order is then never in memory as a whole
    device         where the batches are; the store moves there once, as a whole

    Each pass is the next epoch; `set_epoch` chooses one. `state_dict` names the epoch and how many of its
    batches were handed out; after `load_state_dict` the first pass serves the rest of that epoch. `len` is
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
        self._next = (0, 0)  # where the next pass starts: epoch, batch

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """For Lightning, which calls set_epoch on `loader.batch_sampler.sampler`.

        Its other look-ups go by `loader.sampler`, which we do not have: those would replace it. Made when asked for:
        kept, it would be a circle of references, and a store would stay in memory until these are collected.
        """
        return SimpleNamespace(sampler=self)

    def __len__(self) -> int:
        rows = len(self.store)
        if not self.shuffle:
            mine = len(range(self.rank, rows, self.world_size))
            if self.block is None and not self.drop_last:
                return min(mine, -(-rows // (self.world_size * self.batch_size)))
            rows = mine
        else:
            rows = rows // self.world_size if self.drop_last else -(-rows // self.world_size)
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[BatchT]:
        # A generator: nothing is decided before the first batch, as Lightning sets the epoch after iter().
        self.epoch, self.position = self._next
        self._next = (self.epoch + 1, 0)
        if begin := getattr(self.store, "begin_pass", None):
            begin()
        if self._serves_views():
            yield from self._views()
            return
        batches = self.order(self.epoch)[self.position :] if self.block is None else self._in_blocks()
        for index in batches:
            self.position += 1
            yield self.store.batch(index)

    def _serves_views(self) -> bool:
        """Whether batches are neighbouring rows of plain tensors: to copy them takes as long as a small model."""
        in_order = not self.shuffle and self.block is None and self.world_size == 1
        # other stores make what they serve; tensors of inference mode do not count changes
        return in_order and type(self.store) is PointStore and not self.store.y.is_inference()

    def _views(self) -> Iterator[Any]:
        """What is left of this epoch in order: the first batch copied, the others views if it was not written to.

        A model may change its inputs in place, and those of the next epoch must not be changed.
        """
        assert isinstance(self.store, PointStore)
        size, copying = self.batch_size, True
        for start in range(self.position * size, min(len(self) * size, len(self.store)), size):
            batch = self.store.part(start, start + size)
            if copying:
                with torch.inference_mode(False):
                    batch = pytree.tree_map_only(Tensor, torch.clone, batch)
            before = _versions(batch)
            self.position += 1
            yield batch
            if _versions(batch) == before:
                copying = False
            elif not copying:
                raise RuntimeError(
                    "the model changed this batch in place, and the first one not: x = x.clone() first"
                )

    def order(self, epoch: int) -> list[Tensor]:
        """The positions in the store that make up each batch of this rank in `epoch`."""
        size = len(self.store)
        if not self.shuffle:
            rows = torch.arange(size)[self.rank :: self.world_size]
            batches = list(rows.split(self.batch_size))
            if len(batches) < len(self):  # another rank has a row more, and with it a batch
                batches = list(rows.tensor_split(len(self)))
        else:
            generator = torch.Generator().manual_seed(_mix(self.seed, epoch))
            order = torch.randperm(size, generator=generator)
            joint = self.batch_size * self.world_size
            if self.lengths is not None:
                order = _bucket(order, self.lengths, joint, generator)
            if self.drop_last:
                order = order[: size - size % self.world_size]
            elif size % self.world_size:
                order = order[torch.arange(-(-size // self.world_size) * self.world_size) % size]
            # Step s of all ranks together is what one process with the joint batch size would see.
            batches = [part[self.rank :: self.world_size] for part in order.split(joint)]
        batches = batches[: len(self)]
        return batches if self.device is None else [index.to(self.device) for index in batches]

    def _in_blocks(self) -> Iterator[Tensor]:
        """What is left of this epoch's order, for a store that may be larger than memory."""
        assert self.block is not None
        size, rank, world_size = len(self.store), self.rank, self.world_size
        joint = self.batch_size * world_size
        if self.shuffle:
            order = BlockOrder(size, self.block)
            seed = _mix(self.seed, self.epoch)
            pieces = order.rows(seed, self.position * joint, self._by_length(joint))
            if missing := 0 if self.drop_last else -size % world_size:
                first = next(order.rows(seed))
                pieces = chain(pieces, [first[torch.arange(missing) % len(first)]])
            groups = regroup(pieces, joint)
        else:
            starts = range(self.position * joint, size, joint)
            groups = (torch.arange(start, min(start + joint, size)) for start in starts)
        for group in islice(groups, len(self) - self.position):
            index = group if world_size == 1 else group[rank::world_size]
            yield index if self.device is None else index.to(self.device)

    def _by_length(self, joint: int) -> Arrange | None:
        """Within a window of blocks, examples of similar size in a batch of all ranks together."""
        if (lengths := self.lengths) is None:
            return None

        def arrange(rows: Tensor, before: int, generator: torch.Generator) -> Tensor:
            head = -before % joint  # what fills up the last batch of the window before
            return torch.cat([rows[:head], _bucket(rows[head:], lengths, joint, generator)])

        return arrange

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be `epoch` from its start; nothing changes when it is in that epoch already."""
        if epoch != self._next[0]:
            self._next = (epoch, 0)

    def state_dict(self) -> dict[str, int]:
        """Where this loader is: `epoch` and the batches of it that were handed out."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next pass go on where `state` was taken (with the next epoch, when that one was done)."""
        epoch, position = int(state["epoch"]), int(state["position"])
        self.epoch, self.position = epoch, position
        self._next = (epoch, position) if position < len(self) else (epoch + 1, 0)


def _versions(batch: Any) -> list[int]:
    """How often each tensor was written to; row numbers made for the batch are nobody's."""
    parts = (part for part in pytree.tree_leaves(batch) if isinstance(part, Tensor))
    return [part._version for part in parts if not part.is_inference()]


def _mix(seed: int, epoch: int) -> int:
    """One 63-bit seed out of two numbers: neighbouring seeds must not share epochs."""
    state = (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    return (state ^ (state >> 31)) >> 1


def _bucket(
    order: Tensor, lengths: Tensor, batch_size: int, generator: torch.Generator, window: int = 32
) -> Tensor:
    """Sort each `window` batches of `order` by length, then shuffle the batches; a short one stays last."""
    parts = [
        part[lengths[part].argsort(stable=True)].split(batch_size)
        for part in order.split(window * batch_size)
    ]
    batches = [batch for part in parts for batch in part]
    full = sum(len(batch) == batch_size for batch in batches)
    shuffled = torch.randperm(full, generator=generator).tolist()
    return torch.cat([batches[i] for i in shuffled] + batches[full:]) if batches else order
