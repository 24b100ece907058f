"""Reads a user's table from disk: Parquet, CSV or Arrow, reporting a reader's failure in one line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import polars as pl

from lit_mlfund.data.parsing.options import Parsing
from lit_mlfund.data.reading.csv_file import CsvFile
from lit_mlfund.data.reading.csv_pieces import csv_batches, csv_schema
from lit_mlfund.data.reading.errors import DataError, did_you_mean

TEXT = ("csv", "tsv")

CHUNK = 2**23  # bytes of a file: the most that is read at a time, however large its cells

# How many row groups or record batches polars prefetches: dozens by default. It reads the variables at each scan.
_PREFETCH_VARIABLES = ("POLARS_ROW_GROUP_PREFETCH_SIZE", "POLARS_RECORD_BATCH_PREFETCH_SIZE")

# Takes column names and a number of rows; yields frames of these columns with at most that many rows.
Batches = Callable[[list[str], int], Iterator[pl.DataFrame]]


def read_table(path: str, csv: CsvFile | None = None) -> pl.DataFrame:
    """Read a table in the format of its extension: .parquet, .csv, .tsv (also .gz), .arrow, .feather, .ipc.

    In text files a cell of `MISSING` is null and ISO dates are parsed; the layout is recognised, or that of `csv`.

    Raises:
        DataError: no such file, an unknown extension, a damaged file, or no rows.
    """
    file = find_file(path)
    extension = _extension(path, file)
    csv = csv or open_csv(path)
    try:
        frame = _READERS[extension](file) if csv is None else csv.read()
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _damaged(path, error, csv) from error
    if frame.height == 0 or frame.width == 0:
        raise DataError(f"{path}: the table has no rows")
    return frame


def scan_table(
    path: str, csv: CsvFile | None = None, as_text: Callable[[pl.Schema], Iterable[str]] = lambda _: ()
) -> tuple[pl.Schema, Batches]:
    """Return the columns of a table as `read_table` reads it, and a function that yields its rows in pieces.

    Args:
        path: the file.
        csv: the same as a text file whose layout is known.
        as_text: tells from the columns which of them are read as text, whatever they hold.

    Raises:
        DataError: as in `read_table`, or for an Arrow stream, which can only be read as a whole.
    """
    file = find_file(path)
    _extension(path, file)
    csv = csv or open_csv(path)
    try:
        if csv is not None:
            schema = csv_schema(csv)
            text = tuple(as_text(pl.Schema(schema.types)))
            types = schema.types | dict.fromkeys(text, pl.String())
            return pl.Schema(types), lambda names, rows: (
                piece for frame in csv_batches(csv, schema, names, text) for piece in frame.iter_slices(rows)
            )
        for variable in _PREFETCH_VARIABLES:
            os.environ.setdefault(variable, "1")
        frame = _lazy(file)
        max_rows = max(1, CHUNK * _height(frame) // file.stat().st_size)
        return frame.collect_schema(), lambda names, rows: frame.select(names).collect_batches(
            chunk_size=min(rows, max_rows), maintain_order=True, engine="streaming"
        )
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _damaged(path, error, csv) from error


def open_csv(path: str, options: Parsing | None = None, separator: str | None = None) -> CsvFile | None:
    """Recognise the layout of a text file as `CsvFile.of` does; return None for a file of another kind.

    Raises:
        DataError: no such file, an unknown extension, or another encoding than the one that was given.
    """
    file = find_file(path)
    if _extension(path, file) not in TEXT:
        return None
    try:
        return CsvFile.of(file, options, separator)
    except (OSError, EOFError) as error:
        raise _damaged(path, error) from error


def memory_size(path: str, row: int = 0) -> int:
    """Estimate the bytes of a table in memory, with at least `row` bytes per row; raise as `scan_table` does."""
    file = find_file(path)
    if _extension(path, file) in TEXT or is_stream(path):
        return text_size(path)
    try:
        frame = _lazy(file)
        return max(file.stat().st_size, _height(frame) * max(row, 8 * len(frame.collect_schema())))
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def text_size(path: str) -> int:
    """Return the bytes of a text file, estimated if it is compressed."""
    file = find_file(path)
    return file.stat().st_size * (8 if file.suffix.lower() == ".gz" else 1)


def is_stream(path: str) -> bool:
    """Return whether a file in Arrow's format is a stream, which can only be read as a whole."""
    with open(find_file(path), "rb") as file:
        return file.read(4) == b"\xff\xff\xff\xff"


def find_file(path: str) -> Path:
    """Return the file at `path`; raise a DataError if there is none, it is a folder, or it is empty."""
    file = Path(path).expanduser()
    if not file.exists():
        near = sorted(other.name for other in file.parent.iterdir()) if file.parent.is_dir() else []
        hint = did_you_mean(file.name, near) if near else f"; there is no folder {file.parent} either"
        raise DataError(f"{path}: no such file{hint}")
    if file.is_dir():
        raise DataError(f"{path}: this is a folder, not a file")
    if file.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    return file


def require_columns(frame: pl.DataFrame, names: Iterable[str | None], source: str) -> None:
    """Raise a DataError that names every one of `names` that `frame` lacks; None is skipped."""
    present = set(frame.columns)  # asked for once: polars builds the list anew each time
    missing = [name for name in names if name is not None and name not in present]
    if missing:
        problems = "; ".join(f"no column {name!r}{did_you_mean(name, frame.columns)}" for name in missing)
        numbers = [re.fullmatch(r"-?\d+(\.\d+)?(_duplicated_\d+)?", name) for name in frame.columns]
        is_row = all(numbers) or any(found and found[1] for found in numbers)
        hint = "; if the first line is no header, say data.header=0" if is_row else ""
        raise DataError(f"{source}: {problems}{hint}")


def _extension(path: str, file: Path) -> str:
    """Return the extension of a file, `.gz` aside; raise a DataError for an unknown one."""
    extension = file.name.lower().removesuffix(".gz").rpartition(".")[2]
    if extension not in _ENDINGS:
        raise DataError(f"{path}: unknown file extension; tables are read from .{', .'.join(_ENDINGS)}")
    return extension


def _lazy(file: Path) -> pl.LazyFrame:
    # a name is no pattern: `data[1].parquet` is not `data1.parquet`
    scan = pl.scan_parquet if file.suffix.lower() == ".parquet" else pl.scan_ipc
    return scan(file, glob=False)


def _height(frame: pl.LazyFrame) -> int:
    """Return the number of rows, from the metadata of the file."""
    return int(frame.select(pl.len()).collect().item())


def _damaged(path: str, error: Exception, csv: CsvFile | None = None) -> DataError:
    if csv is not None and not isinstance(error, OSError) and (encoding := csv.explain_encoding()):
        return DataError(f"{path}: {encoding}")
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return DataError(f"{path}: cannot be read, it is damaged or of another format ({reason})")


def _read_arrow(file: Path) -> pl.DataFrame:
    try:
        return pl.scan_ipc(file, glob=False).collect()
    except pl.exceptions.ComputeError:
        return pl.read_ipc_stream(file)


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "parquet": partial(pl.read_parquet, glob=False),
    "arrow": _read_arrow,
    "feather": _read_arrow,
    "ipc": _read_arrow,
}
_ENDINGS = ("parquet", *TEXT, *(ending for ending in _READERS if ending != "parquet"))
