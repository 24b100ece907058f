"""Serves a split from memory-mapped files: rows are read from disk when a batch needs them."""

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

SAMPLE_ROWS = 200_000  # for consumers that need rows in memory, such as the reference models
# Bytes: enough for fast disk reads, few enough that the rows being mixed stay in the processor's caches.
BLOCK = 2**18
INPUTS = ("numeric", "categorical")
DTYPES = {"float32": torch.float32, "int32": torch.int32, "int64": torch.int64}  # by name in a manifest
FileLayout = tuple[str, list[int]]  # dtype of a file and the shape of one entry


class Mapped:
    """Adds what a disk-backed store has beyond an in-memory one; it keeps category codes as int32.

    on_pass     called before each pass over the rows, for example to check that their source is unchanged
    """

    x: Inputs
    on_pass: Callable[[], None] | None

    def begin_pass(self) -> None:
        """Run `on_pass`; a loader calls this before the first batch of a pass."""
        if self.on_pass is not None:
            self.on_pass()

    @property
    def num_rows(self) -> int:
        """Return the number of rows: examples, or the documents of all lists."""
        return next(iter(self.x.values())).shape[0]

    def inputs(self, start: int, stop: int) -> Inputs:
        """Return the inputs of the rows from `start` to `stop`, copied into memory."""
        return _widen_codes({name: values[start:stop].clone() for name, values in self.x.items()})


@dataclass(frozen=True)
class MappedStore(Mapped, PointStore):
    """Implements `PointStore` on files, out of which each batch copies its rows."""

    on_pass: Callable[[], None] | None = None

    @property
    def block(self) -> int:
        """Return how many rows a loader should keep together when shuffling, as they are adjacent on disk."""
        return max(1, BLOCK // _row_bytes(*self.x.values(), self.y, self.weight, self.index))

    def batch(self, index: Tensor) -> PointBatch:
        batch = super().batch(index)
        _widen_codes(batch.x)
        return batch

    def sample(self, size: int, seed: int = 0) -> PointStore:
        """Return `size` rows drawn without replacement, in file order; all rows if there are no more."""
        batch = self.batch(_draw_sorted(len(self), size, seed))
        return PointStore(batch.x, batch.y, batch.weight, batch.index)

    def to(self, *args: Any, **kwargs: Any) -> PointStore:  # type: ignore[override]
        """Load all rows onto a device, as a store in memory; arguments as in `torch.Tensor.to`."""
        return self.sample(len(self)).to(*args, **kwargs)


@dataclass(frozen=True)
class MappedListStore(Mapped, ListStore):
    """Implements `ListStore` on files of documents; the offsets of the queries are in memory."""

    on_pass: Callable[[], None] | None = None

    @property
    def block(self) -> int:
        """Return how many queries a loader should keep together when shuffling, as they are adjacent on disk."""
        row = _row_bytes(*self.x.values(), self.relevance, self.index)
        return max(1, BLOCK * len(self) // (row * self.num_rows))

    def batch(self, index: Tensor) -> ListBatch:
        batch = super().batch(index)
        _widen_codes(batch.x)
        return batch

    def sample(self, size: int, seed: int = 0) -> ListStore:
        """Return queries with about `size` documents in total, drawn without replacement, in file order."""
        return self._queries(_draw_sorted(len(self), max(1, size * len(self) // self.num_rows), seed))

    def to(self, *args: Any, **kwargs: Any) -> ListStore:  # type: ignore[override]
        """Load all queries onto a device, as a store in memory; arguments as in `torch.Tensor.to`."""
        return self._queries(torch.arange(len(self))).to(*args, **kwargs)

    def _queries(self, index: Tensor) -> ListStore:
        length = self.lengths[index]
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)])
        rows = torch.arange(int(offsets[-1])) + (self.offsets[index] - offsets[:-1]).repeat_interleave(length)
        return ListStore(
            _widen_codes({name: values[rows] for name, values in self.x.items()}),
            self.relevance[rows],
            offsets,
            None if self.weight is None else self.weight[index],
            None if self.index is None else self.index[rows],
        )


class RowWriter:
    """Writes rows to the files of a split, one store after another."""

    def __init__(self, folder: Path, split: str, files: ExitStack) -> None:
        self.folder = folder
        self.split = split
        self.files = files
        self.opened: dict[str, BinaryIO] = {}
        self.layout: dict[str, FileLayout] = {}

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
                file = open(self.folder / f"{self.split}.{name}", "wb")  # noqa: SIM115  `files` closes it
                self.opened[name] = self.files.enter_context(file)
                self.layout[name] = str(tensor.dtype).removeprefix("torch."), list(tensor.shape[1:])
            self.opened[name].write(tensor.numpy().data)


def open_mapped(
    folder: Path, split: str, layout: dict[str, FileLayout], on_pass: Callable[[], None] | None = None
) -> MappedStore | MappedListStore:
    """Open the store of a split that a `RowWriter` with this `layout` has written."""
    tensors = {
        name: _map_tensor(folder / f"{split}.{name}", DTYPES[dtype], shape)
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


def _map_tensor(path: Path, dtype: torch.dtype, shape: list[int]) -> Tensor:
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the buffer is read-only, and nothing writes to it
        return torch.frombuffer(content, dtype=dtype).view(-1, *shape)


def _row_bytes(*tensors: Tensor | None) -> int:
    """Return the bytes that one row of `tensors` takes."""
    return sum(t.element_size() * prod(t.shape[1:]) for t in tensors if t is not None)


def _widen_codes(x: Inputs) -> Inputs:
    """Convert the category codes in `x` to int64, as batches have them."""
    if (codes := x.get("categorical")) is not None:
        x["categorical"] = codes.long()
    return x


def _draw_sorted(total: int, size: int, seed: int) -> Tensor:
    """Draw `size` of the numbers 0 … total - 1 without replacement, in ascending order."""
    if size >= total:
        return torch.arange(total)
    drawn = np.random.default_rng(seed).choice(total, size, replace=False, shuffle=False)
    return torch.from_numpy(np.sort(drawn))
