"""A text file in pieces: the types of its columns, and its rows.

polars would take all of the file into memory for the first, and whatever it reads ahead for the second.
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
    """The types that polars infers from all of a file (`infer_schema_length=None`).

    Raises:
        polars.exceptions.PolarsError: it cannot be read.
    """
    found: dict[str, set[pl.DataType]] = {}
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

        told = scan().collect_schema()
        for name in told:
            found.setdefault(name, set())
        # a column without a value is called text, too
        texts = [
            name for name, dtype in told.items() if dtype == pl.String and pl.String() not in found[name]
        ]
        empty = (
            {part.name for part in scan(texts).collect() if part.null_count() == len(part)} if texts else ()
        )
        for name, dtype in told.items():
            if name not in empty:
                found[name].add(dtype)
    return {name: _joint(types) for name, types in found.items()}


def csv_batches(
    file: Path, separator: str, null_values: Sequence[str], schema: dict[str, pl.DataType], columns: list[str]
) -> Iterator[pl.DataFrame]:
    """Some columns of a file, in order, in frames of about `CHUNK` bytes of text.

    Raises:
        polars.exceptions.PolarsError: it cannot be read.
    """
    for chunk in _chunks(file):
        frame = pl.scan_csv(io.BytesIO(chunk), separator=separator, null_values=null_values, schema=schema)
        yield frame.select(columns).collect()


def _joint(types: set[pl.DataType]) -> pl.DataType:
    """As polars joins what it infers from single cells."""
    if len(types) == 1:
        return next(iter(types))
    return pl.Float64() if types == {pl.Int64(), pl.Float64()} else pl.String()


def _chunks(file: Path) -> Iterator[bytes]:
    """The header and some whole rows, until all were had."""
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
    """Behind the last line break that is in no quotes; 0 where there is none."""
    quotes, end = text.count(b'"'), len(text)
    while (cut := text.rfind(b"\n", 0, end)) >= 0:
        quotes -= text.count(b'"', cut, end)
        if quotes % 2 == 0:
            return cut + 1
        end = cut
    return 0
