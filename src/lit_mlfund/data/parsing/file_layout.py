"""Recognises the layout of a text file: its encoding, what separates its cells, and where its header is."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from lit_mlfund.data.parsing.options import Parsing

HEAD = 2**17  # bytes of a file that its layout is recognised from
SEPARATORS = ",;\t|"
MOST_TITLES = 30  # lines before a header
BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class Layout:
    """Describes how to read a text file.

    skip    lines before the header, or before the first row where there is no `header`
    notes   what was recognised and would surprise
    """

    encoding: str = "utf-8"
    separator: str = ","
    skip: int = 0
    header: bool = True
    notes: tuple[str, ...] = ()

    @property
    def is_utf8(self) -> bool:
        """Return whether polars can read the file itself."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig", "ascii")


def find_layout(head: bytes, options: Parsing, whole: bool, separator: str | None = None) -> Layout:
    """Recognise the layout from the first bytes of a file, as far as `options` do not say it.

    Args:
        head: the first bytes.
        options: what is given.
        whole: the file has no further bytes.
        separator: that of earlier files of this kind, where the bytes do not tell.

    Raises:
        UnicodeError: the bytes are not of the encoding that was given.
    """
    encoding = options.encoding or next((name for bom, name in BOMS if head.startswith(bom)), "utf-8")
    notes = [f"encoding: {encoding}"] if encoding != "utf-8" and options.encoding is None else []
    decoder = codecs.getincrementaldecoder(encoding)("replace" if options.encoding is None else "strict")
    text = decoder.decode(head, final=whole).removeprefix("\ufeff")
    lines = re.sub("\r\n?", "\n", text).split("\n")
    lines = lines if whole else lines[:-1] or lines
    if options.header is not None and options.header > 0:
        lines = lines[options.header - 1 :]
    separator, skip = _separator_and_titles(lines, options, separator)
    header = options.header != 0 and (options.header is not None or not _is_data(lines[skip:], separator))
    if skip and options.header is None:
        notes.append(
            f"{skip} title line{'s' * (skip > 1)} before the header left out, such as {lines[0].strip()[:60]!r}"
        )
    if not header and options.header is None:
        notes.append("no header: the first line holds numbers; the columns are column_0, column_1, …")
    if options.header is not None and options.header > 0:
        skip = options.header - 1
    return Layout(encoding, separator, skip, header, tuple(notes))


def _separator_and_titles(lines: list[str], options: Parsing, earlier: str | None) -> tuple[str, int]:
    """Return the separator, and the number of lines before the header."""
    if (
        lines
        and options.header is None
        and (excel := re.fullmatch(r'"?sep=([,;\t|])"?', lines[0].strip(" \ufeff")))
    ):
        return options.separator or excel[1], 1
    candidates = options.separator or (earlier or "") + SEPARATORS
    first = next((line for line in lines if line.strip()), "")
    usual = max(candidates, key=re.sub('"[^"]*"', "", first).count)
    records = {separator: list(_records(lines[:200], separator)) for separator in candidates}
    even = {
        separator: found[0][1]
        for separator, found in records.items()
        if found and found[0][1] > 1 and len({width for _, width, _ in found}) == 1
    }
    if usual in even or (not even and options.header is not None):
        return usual, 0
    if even:
        return max(even, key=lambda separator: even[separator]), 0
    behind_titles = [
        (width, -start, separator)
        for separator, found in records.items()
        if earlier in (None, separator)
        if (place := _header_behind_titles(found)) is not None
        for start, width in [place]
    ]
    if not behind_titles:
        return usual, 0
    _, start, separator = max(behind_titles)
    return separator, -start


def _records(lines: list[str], separator: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield of each record that is not blank the line that it starts in, its number of cells, and the cells."""
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator)
    start = 0
    try:
        for cells in reader:
            if cells:
                yield start, len(cells), cells
            start = reader.line_num
    except csv.Error:
        return


def _header_behind_titles(records: list[tuple[int, int, list[str]]]) -> tuple[int, int] | None:
    """Return line and width of the header where all records from it on are wider than each before it, else None."""
    if len(records) < 3:
        return None
    width = records[-1][1]
    first = next(place for place, record in enumerate(records) if record[1] == width)
    behind = records[first:]
    titles = records[:first]
    if (
        width < 2
        or not 0 < first <= MOST_TITLES
        or len(behind) < 2
        or any(record[1] != width for record in behind)
        or any(record[1] > max(1, width // 2) for record in titles)
        or all(_is_number(cell) for cell in behind[0][2])
    ):
        return None
    return behind[0][0], width


def _is_data(lines: list[str], separator: str) -> bool:
    """Return whether the first line can be no header: all of it are numbers that do not ascend."""
    cells = next(_records(lines[:50], separator), (0, 0, []))[2]
    if len(cells) < 2 or not all(map(_is_number, cells)):
        return False
    numbers = [float(cell) for cell in cells]
    return any(low >= high for low, high in pairwise(numbers))


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", cell) is not None
