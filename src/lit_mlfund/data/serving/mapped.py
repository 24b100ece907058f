"""A split in files mapped into memory: what a batch needs is read from the disk when it is asked for."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from lit_mlfund.data.serving.batch import Inputs, ListBatch, PointBatch
from lit_mlfund.data.serving.store import ListStore, PointStore

SAMPLE_ROWS = 200_000  # for who wants rows in memory, such as the reference models
# Bytes: enough for a disk to be quick, few enough that the rows which are being mixed stay near the processor.
BLOCK = 2**18
INPUTS = ("numeric", "categorical")
DTYPES = {"float32": torch.float32, "int32": torch.int32, "int64": torch.int64}  # as a manifest has them
Part = tuple[str, list[int]]  # of a file: its dtype and the shape of an entry


class Mapped:
    """What a store on the disk has beside those in memory; its codes of categories are int32 there.

    on_pass     called before each pass over the rows, such as to see whether their source is still the same
    """

    x: Inputs
    on_pass: Callable[[], None] | None

    def begin_pass(self) -> None:
        """What a loader says before its first batch."""
        if self.on_pass is not None:
            self.on_pass()

    @property
    def num_rows(self) -> int:
        """Rows of the file: examples, or the documents of all lists."""
        return next(iter(self.x.values())).shape[0]

    def inputs(self, start: int, stop: int) -> Inputs:
        """The inputs of the rows from `start` to `stop`, copied into memory."""
        return _wide({name: values[start:stop].clone() for name, values in self.x.items()})


@dataclass(frozen=True)
class MappedStore(Mapped, PointStore):
    """A `PointStore` whose tensors are files: rows are copied out of them by batches, and by nothing else."""

    on_pass: Callable[[], None] | None = None

    @property
    def block(self) -> int:
        """Rows that a loader should keep together when shuffling, as they lie together on the disk."""
        return max(1, BLOCK // _bytes(*self.x.values(), self.y, self.weight, self.index))

    def batch(self, index: Tensor) -> PointBatch:
        batch = super().batch(index)
        _wide(batch.x)
        return batch

    def sample(self, size: int, seed: int = 0) -> PointStore:
        """`size` rows drawn without repetition, in their order; all of them where there are no more."""
        batch = self.batch(_drawn(len(self), size, seed))
        return PointStore(batch.x, batch.y, batch.weight, batch.index)

    def to(self, *args: Any, **kwargs: Any) -> PointStore:  # type: ignore[override]
        """All rows on a device, as a store in memory; arguments as in `torch.Tensor.to`."""
        return self.sample(len(self)).to(*args, **kwargs)


@dataclass(frozen=True)
class MappedListStore(Mapped, ListStore):
    """A `ListStore` whose documents are files; the offsets of the queries are in memory."""

    on_pass: Callable[[], None] | None = None

    @property
    def block(self) -> int:
        """Queries that a loader should keep together when shuffling, as they lie together on the disk."""
        row = _bytes(*self.x.values(), self.relevance, self.index)
        return max(1, BLOCK * len(self) // (row * self.num_rows))

    def batch(self, index: Tensor) -> ListBatch:
        batch = super().batch(index)
        _wide(batch.x)
        return batch

    def sample(self, size: int, seed: int = 0) -> ListStore:
        """Queries of about `size` documents together, drawn as rows are drawn."""
        return self._queries(_drawn(len(self), max(1, size * len(self) // self.num_rows), seed))

    def to(self, *args: Any, **kwargs: Any) -> ListStore:  # type: ignore[override]
        """All queries on a device, as a store in memory; arguments as in `torch.Tensor.to`."""
        return self._queries(torch.arange(len(self))).to(*args, **kwargs)

    def _queries(self, index: Tensor) -> ListStore:
        length = self.lengths[index]
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)])
        rows = torch.arange(int(offsets[-1])) + (self.offsets[index] - offsets[:-1]).repeat_interleave(length)
        return ListStore(
            _wide({name: values[rows] for name, values in self.x.items()}),
            self.relevance[rows],
            offsets,
            None if self.weight is None else self.weight[index],
            None if self.index is None else self.index[rows],
        )


class RowWriter:
    """Rows to the files of a split, one store after another."""

    def __init__(self, folder: Path, split: str, files: ExitStack) -> None:
        self.folder = folder
        self.split = split
        self.files = files
        self.opened: dict[str, BinaryIO] = {}
        self.layout: dict[str, Part] = {}

    def write(self, store: PointStore | ListStore) -> None:
        """Append the rows of a store."""
        tensors = {**store.x, "weight": store.weight, "index": store.index}
        if "categorical" in store.x:
            tensors["categorical"] = store.x["categorical"].int()
        if isinstance(store, ListStore):
            tensors |= {"relevance": store.relevance, "lengths": store.lengths}
        else:
            tensors["y"] = store.y
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            if name not in self.opened:
                file = open(self.folder / f"{self.split}.{name}", "wb")  # noqa: SIM115  the stack closes it
                self.opened[name] = self.files.enter_context(file)
                self.layout[name] = str(tensor.dtype).removeprefix("torch."), list(tensor.shape[1:])
            self.opened[name].write(tensor.numpy().data)


def open_mapped(
    folder: Path, split: str, layout: dict[str, Part], on_pass: Callable[[], None] | None = None
) -> MappedStore | MappedListStore:
    """The store of a split that a `RowWriter` with this `layout` has written."""
    tensors = {
        name: _mapped(folder / f"{split}.{name}", DTYPES[dtype], shape)
        for name, (dtype, shape) in layout.items()
    }
    x, weight, index = (
        {n: tensors[n] for n in INPUTS if n in tensors},
        tensors.get("weight"),
        tensors["index"],
    )
    if "lengths" not in tensors:
        return MappedStore(x, tensors["y"], weight, index, on_pass)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), tensors["lengths"].cumsum(0)])
    return MappedListStore(x, tensors["relevance"], offsets, weight, index, on_pass)


def _mapped(path: Path, dtype: torch.dtype, shape: list[int]) -> Tensor:
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it cannot be written to, which nobody does
        return torch.frombuffer(content, dtype=dtype).view(-1, *shape)


def _bytes(*tensors: Tensor | None) -> int:
    """Of a row."""
    return sum(t.element_size() * prod(t.shape[1:]) for t in tensors if t is not None)


def _wide(x: Inputs) -> Inputs:
    """With codes as batches have them."""
    if (codes := x.get("categorical")) is not None:
        x["categorical"] = codes.long()
    return x


def _drawn(total: int, size: int, seed: int) -> Tensor:
    """`size` of the numbers 0 … total - 1 without repetition, rising."""
    if size >= total:
        return torch.arange(total)
    drawn = np.random.default_rng(seed).choice(total, size, replace=False, shuffle=False)
    return torch.from_numpy(np.sort(drawn))
