"""Reads a text file of cells as a whole, in the layout that is recognised or given."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import polars as pl

from lit_mlfund.data.parsing.codes_in_text import padded_cell
from lit_mlfund.data.parsing.dates_in_text import iso_dtype, parse_iso
from lit_mlfund.data.parsing.file_layout import HEAD, Layout, find_layout
from lit_mlfund.data.parsing.options import Parsing
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.gzip_file import open_gzip

READ = 2**20  # bytes that are read at a time
BLANK = re.compile(rb'[\s,;|"]*')  # a line without any cell


@dataclass(frozen=True)
class CsvFile:
    """Holds a text file, its layout, and the options that it is read with."""

    file: Path
    layout: Layout
    options: Parsing

    @classmethod
    def of(cls, file: Path, options: Parsing | None = None, separator: str | None = None) -> Self:
        """Recognise the layout of a file, as far as it is not given; raise a DataError for another encoding.

        `separator` is that of earlier files of its kind, where this one does not tell.
        """
        options = options or Parsing()
        with _opened(file) as stream:
            head = stream.read(HEAD)
        try:
            return cls(file, find_layout(head, options, len(head) < HEAD, separator), options)
        except UnicodeError as error:
            raise DataError(
                f"{file}: it is not written in data.encoding={options.encoding} ({error})"
            ) from error

    @property
    def csv_options(self) -> dict[str, Any]:
        """Return what polars has to know of any part of the file."""
        return {
            "separator": self.layout.separator,
            "null_values": self.options.null_values,
            "has_header": self.layout.header,
        }

    def open(self) -> BinaryIO:
        """Open the file as a stream of UTF-8, behind what stands before the header."""
        stream = _opened(self.file)
        if not self.layout.is_utf8:
            stream = cast(BinaryIO, io.BufferedReader(_Transcoded(stream, self.layout.encoding), READ))
        for _ in range(self.layout.skip):
            stream.readline()
        return stream

    def read(self, as_text: Collection[str] | None = None) -> pl.DataFrame:
        """Read all rows; with `as_text` these columns alone, as text.

        Raises:
            polars.exceptions.PolarsError, UnicodeError: the file cannot be read.
        """
        overrides = None if as_text is None else dict.fromkeys(as_text, pl.String)
        frame = pl.read_csv(
            self._source(),
            glob=False,
            columns=None if as_text is None else list(as_text),
            schema_overrides=overrides,
            infer_schema_length=None,  # the whole file: a column is numeric only if all of it is
            **self.csv_options,
        )
        if as_text is not None:
            return frame
        frame = frame.head(frame.height - self._blank_end(frame))
        return frame.with_columns(
            parse_iso(column, dtype)
            for column in frame
            if column.dtype == pl.String
            and not self.options.names(column.name)
            and (dtype := iso_dtype(column)) is not None
        )

    def has_padded_cells(self) -> bool:
        """Return whether there is a cell of digits that starts with a zero."""
        pattern, end = padded_cell(self.layout.separator), b""
        with self.open() as stream:
            while read := stream.read(READ):
                if pattern.search(end + read):
                    return True
                end = read[-64:]
        return False

    def _source(self) -> Path | io.BytesIO:
        """Return what polars can read: the file itself, or its text where that takes some preparation."""
        plain = self.layout.is_utf8 and not self.layout.skip and self.file.suffix.lower() != ".gz"
        if plain and not self._ends_in_white_space():
            return self.file
        with self.open() as stream:
            return io.BytesIO(trim_end(stream.read(), self.layout.separator))

    def _ends_in_white_space(self) -> bool:
        with open(self.file, "rb") as stream:
            stream.seek(max(0, self.file.stat().st_size - 4096))
            end = stream.read()
        return bool(end[len(end.rstrip()) :].strip(b"\r\n"))

    def _blank_end(self, frame: pl.DataFrame) -> int:
        """Return how many of the last rows are blank lines."""
        empty = empty_end(frame)
        if not empty:
            return 0
        with self.open() as stream:
            end = b""
            while read := stream.read(READ):
                end = end[-READ:] + read
        return min(empty, blank_lines(end))

    def explain_encoding(self) -> str | None:
        """Return where the file is no UTF-8, and the option that helps; None where it is."""
        if not self.layout.is_utf8:
            return None
        decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
        with _opened(self.file) as stream:
            for text in stream:
                try:
                    decoder.decode(text)
                except UnicodeDecodeError as error:
                    return (
                        f"line {line}: byte {error.object[error.start]:#04x} is not valid UTF-8; say "
                        "data.encoding=cp1252 (Western Europe on Windows), latin-1 or another, or save it as UTF-8"
                    )
                line += 1
        return None


def trim_end(text: bytes, separator: str) -> bytes:
    """Return a text without the lines of white space at its end, if it has more than one column."""
    if separator.encode() not in text[: text.find(b"\n")]:
        return text
    return text[: text.find(b"\n", len(text.rstrip())) + 1 or len(text)]


def empty_end(frame: pl.DataFrame) -> int:
    """Return how many rows at the end have no cell; none of a single column, where a blank line is an empty cell."""
    if frame.width == 1:
        return 0
    for size in (1, 100, frame.height):
        empty = frame.tail(size).select(pl.all_horizontal(pl.all().is_null())).to_series()
        full = (~empty).arg_true()
        if len(full):
            return len(empty) - 1 - int(full[-1])
    return frame.height


def blank_lines(end: bytes) -> int:
    """Return how many lines at the end of a text have no cell."""
    lines = end.removesuffix(b"\n").split(b"\n")
    count = 0
    while count < len(lines) and BLANK.fullmatch(lines[-1 - count]):
        count += 1
    return count


def _opened(file: Path) -> BinaryIO:
    return open_gzip(file) if file.suffix.lower() == ".gz" else open(file, "rb")


class _Transcoded(io.RawIOBase):
    """Reads text of another encoding as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder(encoding)()
        self.rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.rest:
            read = self.stream.read(READ)
            self.rest = self.decoder.decode(read, final=not read).encode()
            if not read and not self.rest:
                return 0
        size = min(len(buffer), len(self.rest))
        buffer[:size] = self.rest[:size]
        self.rest = self.rest[size:]
        return size

    def close(self) -> None:
        self.stream.close()
        super().close()
