"""A table larger than memory: its rows in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.file_watch import Signature
from lit_mlfund.data.reading.read import Batches, is_stream, memory_size, scan_table
from lit_mlfund.data.reading.table import Table, join

Reader = Callable[[str], tuple[pl.Schema, Batches]]  # of the file at a path

PIECE = 2**20  # cells
MAX_ROWS = 2**14  # of a piece, however narrow
LARGE = 2**26  # bytes of a new file in memory, from which on it is read in pieces


@dataclass(frozen=True)
class Scan:
    """Rows that are read in pieces, in order; of what was read, no more than that is in memory.

    signature   of the file, when it was opened; None for a folder
    cells       that a row becomes, where these are more than its columns: `PIECE` counts them
    """

    path: str
    batches: Batches
    schema: pl.Schema
    signature: Signature | None = None
    cells: int = 0

    @classmethod
    def open(
        cls, path: str, signature: Signature | None = None, reader: Reader = scan_table, cells: int = 0
    ) -> Self:
        """A file, maybe signed before; raises as its `reader` does."""
        signature = signature or Signature.of(path)
        schema, batches = reader(path)
        return cls(path, batches, schema, signature, cells)

    def pieces(self, columns: Iterable[str | None] | None = None) -> Iterator[Table]:
        """All rows, in tables of about `PIECE` cells; with `columns` only those of them that the file has.

        Raises:
            DataError: a damaged file, no rows, or a file that is changed while it is read.
        """
        asked = set(self.schema if columns is None else columns)
        names = [name for name in self.schema if name in asked]
        rows = max(1, min(MAX_ROWS, PIECE // max(len(names), self.cells)))
        start = 0
        try:
            for piece in self.batches(names, rows):
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
        if self.signature is not None and (difference := self.signature.difference()):
            raise DataError(f"{self.path}: the file changed while it was read: it {difference}; start again")

    def column(self, *names: str) -> Table:
        """Some columns as a whole."""
        return join(*self.pieces(names))


def scan_large(path: str, cells: int = 0) -> Scan | None:
    """A table to be read in pieces; None for one that fits into memory, or an Arrow stream, which has none.

    `cells` as in `Scan`; raises as `scan_table` does.
    """
    if memory_size(path, 8 * cells) < LARGE or is_stream(path):
        return None
    return Scan.open(path, cells=cells)


def lists_lie_together(scan: Scan, query: str) -> bool:
    """Whether the rows of each query lie side by side; in memory is a number for each list."""
    starts: list[np.ndarray] = []
    last = None
    for piece in scan.pieces([query]):
        labels = piece.labels(query).drop_nulls()
        if not len(labels):
            continue
        first = (labels != labels.shift(fill_value=last)).fill_null(True)
        starts.append(labels.filter(first).hash().to_numpy())
        last = labels[-1]
    begun = np.concatenate(starts or [np.empty(0)])
    return len(np.unique(begun)) == len(begun)


def whole_lists(pieces: Iterable[Table], query: str) -> Iterator[Table]:
    """The same rows in pieces that end where a list ends, of lists that lie together."""
    left: Table | None = None
    for piece in pieces:
        table = piece if left is None else join(left, piece)
        labels = table.labels(query)
        ends = (labels != labels[-1]).arg_true()
        if not len(ends):
            left = table
            continue
        cut = int(ends[-1]) + 1
        yield table.slice(0, cut)
        left = table.slice(cut)
    if left is not None:
        yield left
