"""Writes tables in pieces, so that none has to be in memory as a whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from lit_mlfund.atomic import whole_file

GROUP = 2**23  # bytes of a part; one part is in memory at a time


class TableWriter:
    """Writes rows to one CSV or Parquet file, frame by frame; all frames have the same columns."""

    def __init__(self, path: Path, parts: Path) -> None:
        self.path = path
        self.parts = parts
        self.rows = 0
        self._buffer: list[pl.DataFrame] = []
        self._files: list[Path] = []

    def write(self, frame: pl.DataFrame) -> None:
        """Append the rows of `frame`."""
        if self.path.suffix == ".csv":
            with open(self.path, "ab") as file:
                frame.write_csv(file, include_header=not self.rows)
        else:
            self._buffer.append(frame)
            if sum(part.estimated_size() for part in self._buffer) >= GROUP:
                self._flush()
        self.rows += frame.height

    def _flush(self) -> None:
        self._files.append(self.parts / f"{len(self._files)}.arrow")
        pl.concat(self._buffer).write_ipc(self._files[-1])
        self._buffer = []

    def finish(self) -> None:
        """Assemble a Parquet file from its parts, as its metadata comes at the end; a CSV file is complete."""
        if self.path.suffix == ".csv":
            return
        if not self._files:
            pl.concat(self._buffer).write_parquet(self.path)
            return
        if self._buffer:
            self._flush()
        schema = pl.scan_ipc(self._files[0], glob=False).collect_schema()
        rows = max(1, self.rows // len(self._files))
        register_io_source(lambda *_: map(_read, self._files), schema=schema).sink_parquet(
            self.path, row_group_size=rows
        )


def first_rows(path: Path, rows: int = 5) -> list[dict[str, Any]]:
    """Return the first rows of a file that was written so; none where it has gone."""
    if not path.exists():
        return []
    read = pl.read_csv if path.suffix == ".csv" else pl.read_parquet
    return read(path, n_rows=rows, glob=False).to_dicts()


def _read(part: Path) -> pl.DataFrame:
    frame = pl.scan_ipc(part, glob=False).collect()
    part.unlink()
    return frame


@contextmanager
def table_writer(path: str) -> Iterator[TableWriter]:
    """Yield a writer to `path`, which appears when the block ends without an error.

    Raises:
        WriteError: the file cannot be written.
    """
    with (
        whole_file(path) as temporary,
        tempfile.TemporaryDirectory(dir=temporary.parent, prefix=".parts-") as parts,
    ):
        writer = TableWriter(temporary, Path(parts))
        yield writer
        writer.finish()
