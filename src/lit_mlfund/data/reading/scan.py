"""Reads the rows of a table larger than memory in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import polars as pl

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.file_watch import Signature
from lit_mlfund.data.reading.frames import Source, is_frame
from lit_mlfund.data.reading.read import Batches, is_stream, memory_size, scan_table
from lit_mlfund.data.reading.table import Table, join

Reader = Callable[[str], tuple[pl.Schema, Batches]]  # takes the path of a file

PIECE = 2**20  # cells
MAX_ROWS = 2**14  # of a piece, however narrow
LARGE = 2**26  # bytes in memory from which on a new file is read in pieces


@dataclass(frozen=True)
class Scan:
    """Reads rows in pieces, in order; only one piece is in memory at a time.

    signature   of the file when it was opened; None for a folder
    cells       number of cells that a row becomes, if more than its columns; `PIECE` counts them
    convert     turns each piece, as it was read, into what it means
    present     column without which a row is left out
    """

    path: str
    batches: Batches
    schema: pl.Schema
    signature: Signature | None = None
    cells: int = 0
    convert: Callable[[Table], Table] = lambda table: table
    present: str | None = None

    @classmethod
    def open(
        cls, path: str, signature: Signature | None = None, reader: Reader = scan_table, cells: int = 0
    ) -> Self:
        """Open a file, which may have been signed before; raise as its `reader` does."""
        signature = signature or Signature.of(path)
        schema, batches = reader(path)
        return cls(path, batches, schema, signature, cells)

    def pieces(self, columns: Iterable[str | None] | None = None) -> Iterator[Table]:
        """Yield all rows in tables of about `PIECE` cells; with `columns`, only those of them that the file has.

        Raises:
            DataError: a damaged file, no rows, or a file that is changed while it is read.
        """
        requested = set(self.schema if columns is None else columns)
        names = [name for name in self.schema if name in requested]
        extra = [] if self.present is None or self.present in requested else [self.present]
        rows = max(1, min(MAX_ROWS, PIECE // max(len(names), self.cells)))
        start = kept = 0
        try:
            for piece in self.batches([*names, *extra], rows):
                table = self.convert(Table(piece, self.path, np.arange(start, start + piece.height)))
                start += piece.height
                if self.present is not None:
                    table = table.drop_missing(self.present)
                    table = replace(table, frame=table.frame.select(names))
                kept += len(table)
                if len(table):
                    yield table
        except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
            self.check()
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(f"{self.path}: damaged after about {start} rows ({reason})") from error
        self.check()
        if not start:
            raise DataError(f"{self.path}: the table has no rows")
        if not kept:
            raise DataError(f"{self.path}: column {self.present!r}: missing in all rows")

    def check(self) -> None:
        """Raise a DataError if the file has changed since it was opened."""
        if self.signature is not None and (difference := self.signature.difference()):
            raise DataError(f"{self.path}: the file changed while it was read: it {difference}; start again")

    def count_missing(self, name: str) -> int:
        """Return how many rows have no value in a column."""
        pieces = replace(self, present=None).pieces([name])
        return sum(len(piece) - len(piece.drop_missing(name)) for piece in pieces)

    def column(self, *names: str) -> Table:
        """Read some columns as a whole."""
        return join(*self.pieces(names))


def is_large(path: Source, cells: int = 0) -> bool:
    """Return whether a table is read in pieces: a file that does not fit into memory, but for an Arrow stream.

    An Arrow stream can only be read as a whole. `cells` as in `Scan`; raises as `scan_table` does.
    """
    return not (is_frame(path) or memory_size(path, 8 * cells) < LARGE or is_stream(path))


def lists_are_contiguous(scan: Scan, query: str) -> bool:
    """Return whether the rows of each query are adjacent, keeping one number per list in memory."""
    starts: list[np.ndarray] = []
    last = None
    for piece in scan.pieces([query]):
        labels = piece.labels(query).drop_nulls()
        if not len(labels):
            continue
        first = (labels != labels.shift(fill_value=last)).fill_null(True)
        starts.append(labels.filter(first).hash().to_numpy())
        last = labels[-1]
    hashes = np.concatenate(starts or [np.empty(0)])
    return len(np.unique(hashes)) == len(hashes)


def whole_lists(pieces: Iterable[Table], query: str) -> Iterator[Table]:
    """Yield the same rows in pieces that end where a list ends; lists must be contiguous."""
    remainder: Table | None = None
    for piece in pieces:
        table = piece if remainder is None else join(remainder, piece)
        labels = table.labels(query)
        ends = (labels != labels[-1]).arg_true()
        if not len(ends):
            remainder = table
            continue
        cut = int(ends[-1]) + 1
        yield table.slice(0, cut)
        remainder = table.slice(cut)
    if remainder is not None:
        yield remainder
