"""Reads a text file in pieces: the types of its columns, and its rows.

polars would load the whole file for the types, and read far ahead for the rows.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl

CHUNK = 2**20  # bytes


def csv_schema(file: Path, separator: str, null_values: Sequence[str]) -> dict[str, pl.DataType]:
    """Infer the column types that polars infers from a whole file (`infer_schema_length=None`).

    Raises:
        polars.exceptions.PolarsError: the file cannot be read.
    """
    types_of: dict[str, set[pl.DataType]] = {}
    for chunk in _chunks(file):

        def scan(columns: list[str] | None = None, chunk: bytes = chunk) -> pl.LazyFrame:
            frame = pl.scan_csv(
                io.BytesIO(chunk),
                separator=separator,
                null_values=null_values,
                infer_schema=columns is None,
                infer_schema_length=None,
                try_parse_dates=True,
            )
            return frame.select(columns) if columns else frame

        chunk_schema = scan().collect_schema()
        for name in chunk_schema:
            types_of.setdefault(name, set())
        # polars infers text for a column without a value, too
        texts = [
            name
            for name, dtype in chunk_schema.items()
            if dtype == pl.String and pl.String() not in types_of[name]
        ]
        empty = (
            {part.name for part in scan(texts).collect() if part.null_count() == len(part)} if texts else ()
        )
        for name, dtype in chunk_schema.items():
            if name not in empty:
                types_of[name].add(dtype)
    return {name: _common_type(types) for name, types in types_of.items()}


def csv_batches(
    file: Path, separator: str, null_values: Sequence[str], schema: dict[str, pl.DataType], columns: list[str]
) -> Iterator[pl.DataFrame]:
    """Yield some columns of a file, in order, in frames of about `CHUNK` bytes of text.

    Raises:
        polars.exceptions.PolarsError: the file cannot be read.
    """
    for chunk in _chunks(file):
        frame = pl.scan_csv(io.BytesIO(chunk), separator=separator, null_values=null_values, schema=schema)
        yield frame.select(columns).collect()


def _common_type(types: set[pl.DataType]) -> pl.DataType:
    """Return the type of a column whose cells have `types`, as polars infers it."""
    if len(types) == 1:
        return next(iter(types))
    return pl.Float64() if types == {pl.Int64(), pl.Float64()} else pl.String()


def _chunks(file: Path) -> Iterator[bytes]:
    """Yield the header followed by some whole rows, until the file ends."""
    opener = gzip.open if file.suffix.lower() == ".gz" else open
    with cast(BinaryIO, opener(file, "rb")) as stream:
        header = stream.readline()
        while header.count(b'"') % 2 and (line := stream.readline()):
            header += line
        rest = b""
        while read := stream.read(CHUNK):
            rest += read
            if cut := _end_of_rows(rest):
                yield header + rest[:cut]
                rest = rest[cut:]
        yield header + rest


def _end_of_rows(text: bytes) -> int:
    """Return the position behind the last line break outside quotes; 0 if there is none."""
    quotes, end = text.count(b'"'), len(text)
    while (cut := text.rfind(b"\n", 0, end)) >= 0:
        quotes -= text.count(b'"', cut, end)
        if quotes % 2 == 0:
            return cut + 1
        end = cut
    return 0
