"""A table larger than memory: its rows in pieces, and whether its file is still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from lit_mlfund.data.errors import DataError
from lit_mlfund.data.read import find_file, scan_table
from lit_mlfund.data.table import Table

PIECE = 2**20  # cells
MAX_ROWS = 2**14  # of a piece, however narrow
PROBES = 16  # places of a file that are looked at, of 4 KiB each


@dataclass(frozen=True)
class Signature:
    """What tells a file from a later or another one: path, size, time of change, and some of its bytes."""

    path: str
    size: int
    changed: int  # nanoseconds
    probes: str

    @classmethod
    def of(cls, path: str) -> Self:
        """Of the file as it is now; a DataError where there is none."""
        file = find_file(path).resolve()
        stat = file.stat()
        digest = hashlib.blake2b(digest_size=16)
        with open(file, "rb") as content:
            for place in np.linspace(0, max(stat.st_size - 4096, 0), PROBES).astype(int):
                content.seek(int(place))
                digest.update(content.read(4096))
        return cls(str(file), stat.st_size, stat.st_mtime_ns, digest.hexdigest())

    def difference(self) -> str | None:
        """What has become of the file since; None when it is the same by size and time of change."""
        try:
            now = os.stat(self.path)
        except OSError:
            return "is gone"
        if now.st_size != self.size:
            return f"has {now.st_size} bytes instead of {self.size}"
        return None if now.st_mtime_ns == self.changed else "was written to"

    def to_dict(self) -> dict[str, Any]:
        """Plain Python."""
        return asdict(self)


@dataclass(frozen=True)
class Scan:
    """A file whose rows are read in pieces, in order; of what was read, no more than that is in memory."""

    path: str
    frame: pl.LazyFrame
    schema: pl.Schema
    signature: Signature

    @classmethod
    def open(cls, path: str, signature: Signature) -> Self:
        """A file that was signed before; raises as `scan_table` does."""
        frame = scan_table(path)
        return cls(path, frame, frame.collect_schema(), signature)

    def pieces(self, columns: Iterable[str | None] | None = None) -> Iterator[Table]:
        """All rows, in tables of about `PIECE` cells; with `columns` only those of them that the file has.

        Raises:
            DataError: a damaged file, no rows, or a file that is changed while it is read.
        """
        asked = set(self.schema if columns is None else columns)
        names = [name for name in self.schema if name in asked]
        rows = max(1, min(MAX_ROWS, PIECE // len(names)))
        start = 0
        try:
            for piece in self.frame.select(names).collect_batches(
                chunk_size=rows, maintain_order=True, engine="streaming"
            ):
                yield Table(piece, self.path, np.arange(start, start + piece.height))
                start += piece.height
        except (pl.exceptions.PolarsError, OSError) as error:
            self.check()
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(f"{self.path}: damaged after about {start} rows ({reason})") from error
        self.check()
        if not start:
            raise DataError(f"{self.path}: the table has no rows")

    def check(self) -> None:
        """Raise a DataError when the file is no longer the one that was opened."""
        if difference := self.signature.difference():
            raise DataError(f"{self.path}: the file changed while it was read: it {difference}; start again")

    def column(self, *names: str) -> Table:
        """Some columns as a whole."""
        frame = self.frame.select(names).collect(engine="streaming")
        self.check()
        return Table.of(frame, self.path)
