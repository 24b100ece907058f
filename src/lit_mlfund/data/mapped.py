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

from lit_mlfund.data.batch import PointBatch
from lit_mlfund.data.store import PointStore

SAMPLE_ROWS = 200_000  # for who wants rows in memory, such as the reference models
# Bytes: enough for a disk to be quick, few enough that the rows which are being mixed stay near the processor.
BLOCK = 2**18
INPUTS = ("numeric", "categorical")
DTYPES = {"float32": torch.float32, "int32": torch.int32, "int64": torch.int64}  # as a manifest has them


@dataclass(frozen=True)
class MappedStore(PointStore):
    """A `PointStore` whose tensors are files: rows are copied out of them by batches, and by nothing else.

    Codes of categories are int32 in the files and int64 in batches.

    on_pass     called before each pass over the rows, such as to see whether their source is still the same
    """

    on_pass: Callable[[], None] | None = None

    @property
    def block(self) -> int:
        """Rows that a loader should keep together when shuffling, as they lie together on the disk."""
        tensors = (*self.x.values(), self.y, self.weight, self.index)
        row = sum(t.element_size() * prod(t.shape[1:]) for t in tensors if t is not None)
        return max(1, BLOCK // row)

    def begin_pass(self) -> None:
        """What a loader says before its first batch."""
        if self.on_pass is not None:
            self.on_pass()

    def batch(self, index: Tensor) -> PointBatch:
        batch = super().batch(index)
        if (codes := batch.x.get("categorical")) is not None:
            batch.x["categorical"] = codes.long()
        return batch

    def read(self, start: int = 0, stop: int | None = None) -> PointStore:
        """The rows from `start` to `stop`, copied into memory."""
        return self._rows(torch.arange(*slice(start, stop).indices(len(self))))

    def sample(self, size: int, seed: int = 0) -> PointStore:
        """`size` rows drawn without repetition, in their order; all of them where there are no more."""
        if size >= len(self):
            return self.read()
        drawn = np.random.default_rng(seed).choice(len(self), size, replace=False, shuffle=False)
        return self._rows(torch.from_numpy(np.sort(drawn)))

    def to(self, *args: Any, **kwargs: Any) -> PointStore:  # type: ignore[override]
        """All rows on a device, as a store in memory; arguments as in `torch.Tensor.to`."""
        return self.read().to(*args, **kwargs)

    def _rows(self, index: Tensor) -> PointStore:
        batch = self.batch(index)
        return PointStore(batch.x, batch.y, batch.weight, batch.index)


class RowWriter:
    """Rows to the files of a split, one store after another; `rows` counts them."""

    def __init__(self, folder: Path, split: str, files: ExitStack) -> None:
        self.folder = folder
        self.split = split
        self.files = files
        self.rows = 0
        self.opened: dict[str, BinaryIO] = {}
        self.layout: dict[str, list[Any]] = {}

    def write(self, store: PointStore) -> None:
        """Append the rows of a store."""
        tensors = {**store.x, "y": store.y, "weight": store.weight, "index": store.index}
        if "categorical" in store.x:
            tensors["categorical"] = store.x["categorical"].int()
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            if name not in self.opened:
                file = open(self.folder / f"{self.split}.{name}", "wb")  # noqa: SIM115  the stack closes it
                self.opened[name] = self.files.enter_context(file)
                self.layout[name] = [str(tensor.dtype).removeprefix("torch."), list(tensor.shape[1:])]
            self.opened[name].write(tensor.numpy().data)
        self.rows += len(store)


def open_mapped(
    folder: Path,
    split: str,
    rows: int,
    layout: dict[str, list[Any]],
    on_pass: Callable[[], None] | None = None,
) -> MappedStore:
    """The store of a split that a `RowWriter` with this `layout` has written."""
    tensors = {
        name: _mapped(folder / f"{split}.{name}", DTYPES[dtype], (rows, *shape))
        for name, (dtype, shape) in layout.items()
    }
    x = {name: tensors[name] for name in INPUTS if name in tensors}
    return MappedStore(x, tensors["y"], tensors.get("weight"), tensors["index"], on_pass)


def _mapped(path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it cannot be written to, which nobody does
        return torch.frombuffer(content, dtype=dtype).view(shape)
