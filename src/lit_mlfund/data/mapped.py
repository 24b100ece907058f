"""A split in a file of equal rows, mapped into memory: what a batch needs is read when it is asked for."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from lit_mlfund.data.batch import Inputs, PointBatch
from lit_mlfund.data.store import PointStore

SAMPLE_ROWS = 200_000  # for who wants rows in memory, such as the reference models
BLOCK = 2**20  # bytes that a disk reads about as fast as any less


@dataclass(frozen=True)
class Layout:
    """A row in words of 32 bits: numeric float32, codes int32, y, weight float32, and the row's number int64.

    y is int32 for classes by code (`coded`), else float32.
    """

    numeric: int
    categorical: int
    coded: bool
    weighted: bool

    @property
    def words(self) -> int:
        """Words of a row."""
        return self.numeric + self.categorical + 1 + self.weighted + 2

    @property
    def block(self) -> int:
        """Rows that are kept together when shuffling."""
        return max(1, BLOCK // (4 * self.words))

    def pack(self, store: PointStore) -> np.ndarray:
        """The rows of a store as int32 `[N, words]`."""
        packed = np.empty((len(store), self.words), dtype=np.int32)
        place = self.numeric + self.categorical
        if self.numeric:
            packed[:, : self.numeric] = store.x["numeric"].numpy().view(np.int32)
        if self.categorical:
            packed[:, self.numeric : place] = store.x["categorical"].numpy()
        y = store.y.numpy()
        packed[:, place] = y if self.coded else y.view(np.int32)
        if store.weight is not None:
            packed[:, place + 1] = store.weight.numpy().view(np.int32)
        assert store.index is not None
        packed[:, -2:] = store.index.numpy().view(np.int32).reshape(-1, 2)
        return packed

    def unpack(self, packed: Tensor) -> tuple[Inputs, Tensor, Tensor | None, Tensor]:
        """The inverse of `pack`: x, y, weight and index."""
        x: Inputs = {}
        place = self.numeric + self.categorical
        if self.numeric:
            x["numeric"] = packed[:, : self.numeric].view(torch.float32).contiguous()
        if self.categorical:
            x["categorical"] = packed[:, self.numeric : place].long()
        return (
            x,
            self.target(packed),
            self._weight(packed),
            packed[:, -2:].contiguous().view(torch.int64)[:, 0],
        )

    def target(self, packed: Tensor) -> Tensor:
        """y alone."""
        y = packed[:, self.numeric + self.categorical]
        return y.long() if self.coded else y.contiguous().view(torch.float32)

    def _weight(self, packed: Tensor) -> Tensor | None:
        weight = packed[:, self.numeric + self.categorical + 1]
        return weight.contiguous().view(torch.float32) if self.weighted else None

    def to_dict(self) -> dict[str, Any]:
        """Plain Python."""
        return asdict(self)


class RowWriter:
    """Rows to an open file, one after another; `rows` counts them."""

    def __init__(self, file: BinaryIO, layout: Layout) -> None:
        self.file = file
        self.layout = layout
        self.rows = 0

    def write(self, store: PointStore) -> None:
        """Append the rows of a store."""
        self.file.write(self.layout.pack(store).data)
        self.rows += len(store)


class MappedStore:
    """The rows of a file as `PointStore` serves them, one copy in the system's cache for all processes.

    block       rows that lie together on the disk; a loader that shuffles by them reads it in large pieces
    on_pass     called before each pass over the rows, such as to see whether their source is still the same
    """

    def __init__(
        self, path: Path, layout: Layout, rows: int, on_pass: Callable[[], None] | None = None
    ) -> None:
        self.path = path
        self.layout = layout
        self.rows = rows
        self.on_pass = on_pass
        with open(path, "rb") as file:
            content = mmap.mmap(file.fileno(), rows * layout.words * 4, access=mmap.ACCESS_READ)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it cannot be written to, which nobody does
            self._packed = torch.frombuffer(content, dtype=torch.int32).view(rows, layout.words)

    def __len__(self) -> int:
        return self.rows

    @property
    def block(self) -> int:
        return self.layout.block

    def begin_pass(self) -> None:
        """What a loader says before its first batch."""
        if self.on_pass is not None:
            self.on_pass()

    def batch(self, index: Tensor) -> PointBatch:
        """The examples at `index [B]`."""
        return PointBatch(*self.layout.unpack(self._packed.index_select(0, index)))

    @property
    def y(self) -> Tensor:
        """The target of all rows `[N]`, copied into memory."""
        return self.layout.target(self._packed)

    def read(self, start: int = 0, stop: int | None = None) -> PointStore:
        """The rows from `start` to `stop`, copied into memory."""
        return PointStore(*self.layout.unpack(self._packed[start:stop]))

    def sample(self, size: int, seed: int = 0) -> PointStore:
        """`size` rows drawn without repetition, in their order; all of them where there are no more."""
        if size >= self.rows:
            return self.read()
        drawn = np.random.default_rng(seed).choice(self.rows, size, replace=False, shuffle=False)
        return PointStore(*self.layout.unpack(self._packed.index_select(0, torch.from_numpy(np.sort(drawn)))))

    def to(self, device: str | torch.device) -> PointStore:
        """All rows on a device."""
        return self.read().to(device)
