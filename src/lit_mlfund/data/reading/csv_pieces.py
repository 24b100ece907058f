"""Reads a text file in pieces: the types of its columns, and its rows.

polars would load the whole file for the types, and read far ahead for the rows.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from lit_mlfund.data.parsing.dates_in_text import iso_dtype, parse_iso
from lit_mlfund.data.reading.csv_file import CsvFile, blank_lines, empty_end, trim_end

CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class CsvSchema:
    """Holds the types of the columns, and how many blank lines the file ends with."""

    types: dict[str, pl.DataType]
    blank: int = 0


def csv_schema(csv: CsvFile) -> CsvSchema:
    """Infer the column types that `CsvFile.read` infers from the whole file.

    Raises:
        polars.exceptions.PolarsError, UnicodeError: the file cannot be read.
    """
    types_of: dict[str, set[pl.DataType]] = {}
    chunk = b""
    for chunk in _chunks(csv):

        def scan(columns: list[str] | None = None, chunk: bytes = chunk) -> pl.LazyFrame:
            frame = _scan(csv, chunk, infer_schema=columns is None, infer_schema_length=None)
            return frame.select(columns) if columns else frame

        chunk_schema = scan().collect_schema()
        for name in chunk_schema:
            types_of.setdefault(name, set())
        # polars infers text for a column without a value, too
        names = [
            name
            for name, dtype in chunk_schema.items()
            if dtype == pl.String and pl.String() not in types_of[name]
        ]
        texts = {part.name: part for part in scan(names).collect()} if names else {}
        for name, dtype in chunk_schema.items():
            if name not in texts:
                types_of[name].add(dtype)
            elif texts[name].null_count() < len(texts[name]):
                date = None if csv.options.names(name) else iso_dtype(texts[name])
                types_of[name].add(date or pl.String())
    types = {name: _common_type(types) for name, types in types_of.items()}
    return CsvSchema(types, _blank_end(csv, chunk, types))


def csv_batches(
    csv: CsvFile, schema: CsvSchema, columns: list[str], as_text: tuple[str, ...] = ()
) -> Iterator[pl.DataFrame]:
    """Yield some columns of a file, in order, in frames of about `CHUNK` bytes of text.

    Columns of `as_text` are read as text, whatever their type.

    Raises:
        polars.exceptions.PolarsError, UnicodeError: the file cannot be read.
    """
    dates = {n: dtype for n, dtype in schema.types.items() if dtype.is_temporal() and n not in as_text}
    read = {
        name: pl.String() if name in (*dates, *as_text) else dtype for name, dtype in schema.types.items()
    }
    chunks = _chunks(csv)
    chunk = next(chunks, None)
    while chunk is not None:
        following = next(chunks, None)
        frame = _scan(csv, chunk, schema=read).select(columns).collect()
        if following is None:
            frame = frame.head(frame.height - schema.blank)
        yield frame.with_columns(parse_iso(frame[name], dates[name]) for name in columns if name in dates)
        chunk = following


def _scan(csv: CsvFile, chunk: bytes, **options: Any) -> pl.LazyFrame:
    return pl.scan_csv(io.BytesIO(chunk), **csv.csv_options, **options)


def _blank_end(csv: CsvFile, chunk: bytes, types: Mapping[str, pl.DataType]) -> int:
    """Return how many blank lines the last chunk of a file ends with."""
    lines = blank_lines(chunk)
    if not lines or not types:
        return 0
    frame = _scan(csv, chunk, schema=dict.fromkeys(types, pl.String())).collect()
    return min(lines, empty_end(frame))


def _common_type(types: set[pl.DataType]) -> pl.DataType:
    """Return the type of a column whose cells have `types`, as polars infers it."""
    if len(types) == 1:
        return next(iter(types))
    return pl.Float64() if types == {pl.Int64(), pl.Float64()} else pl.String()


def _chunks(csv: CsvFile) -> Iterator[bytes]:
    """Yield the header, if there is one, followed by some whole rows, until the file ends."""
    with csv.open() as stream:
        header = b""
        if csv.layout.header:
            header = stream.readline()
            while header in (b"\n", b"\r\n"):
                header = stream.readline()
            while header.count(b'"') % 2 and (line := stream.readline()):
                header += line
        rest = b""
        started = False
        while read := stream.read(CHUNK):
            rest += read
            if cut := _end_of_rows(rest):
                yield header + rest[:cut]
                rest, started = rest[cut:], True
        last = trim_end(header + rest, csv.layout.separator)
        if len(last) > len(header) or not started:
            yield last


def _end_of_rows(text: bytes) -> int:
    """Return the position behind the last line break outside quotes; 0 if there is none."""
    quotes, end = text.count(b'"'), len(text)
    while (cut := text.rfind(b"\n", 0, end)) >= 0:
        quotes -= text.count(b'"', cut, end)
        if quotes % 2 == 0:  # blank lines go with what follows: at the end of the file they are no rows
            return text.find(b"\n", len(text[:cut].rstrip())) + 1
        end = cut
    return 0
