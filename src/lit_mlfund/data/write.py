"""Tables written in pieces, so that none has to be in memory as a whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from lit_mlfund.atomic import whole_file

GROUP = 2**21  # cells of a row group, which is in memory when it is written


class TableWriter:
    """Rows to one CSV or Parquet file, a frame after another; all have the same columns."""

    def __init__(self, path: Path, parts: Path) -> None:
        self.path = path
        self.parts = parts
        self.rows = 0
        self._frames = 0

    def write(self, frame: pl.DataFrame) -> None:
        """Append the rows of `frame`."""
        if self.path.suffix == ".csv":
            with open(self.path, "ab") as file:
                frame.write_csv(file, include_header=self._frames == 0)
        else:
            frame.write_parquet(self.parts / f"{self._frames:09d}.parquet")
        self._frames += 1
        self.rows += frame.height

    def finish(self) -> None:
        """Parquet has its table of contents at the end, so it is made of its parts then."""
        if self.path.suffix != ".csv":
            parts = sorted(self.parts.iterdir())
            if len(parts) == 1:
                shutil.move(parts[0], self.path)
            else:
                frame = pl.scan_parquet(parts)
                rows = max(1, GROUP // len(frame.collect_schema()))
                frame.sink_parquet(self.path, row_group_size=rows)


@contextmanager
def table_writer(path: str) -> Iterator[TableWriter]:
    """A writer to `path`, which appears when the block ends without an error.

    Raises:
        WriteError: the disk would not take it.
    """
    with (
        whole_file(path) as beside,
        tempfile.TemporaryDirectory(dir=beside.parent, prefix=".parts-") as parts,
    ):
        writer = TableWriter(beside, Path(parts))
        yield writer
        writer.finish()
