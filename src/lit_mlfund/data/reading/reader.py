"""Reads all tables of a run alike: with the options that were given, and with what the first table showed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

import polars as pl

from lit_mlfund.data.parsing.codes_in_text import CodeEvidence
from lit_mlfund.data.parsing.column_formats import Ambiguous, Format, FormatFinder, Found, from_dict, to_dict
from lit_mlfund.data.parsing.dates_in_text import DateFormat
from lit_mlfund.data.parsing.numbers_in_text import NumberFormat
from lit_mlfund.data.parsing.options import Parsing
from lit_mlfund.data.reading import scan as scanning
from lit_mlfund.data.reading.csv_file import CsvFile
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.file_watch import Signature
from lit_mlfund.data.reading.frames import Source, is_frame, name_of
from lit_mlfund.data.reading.read import Batches, open_csv, read_table, scan_table
from lit_mlfund.data.reading.scan import Scan
from lit_mlfund.data.reading.table import Table


class TableReader:
    """Reads tables; the first one decides how columns of text spell numbers and dates, and whether there is a header.

    Args:
        options: what the user says.
        untouched: columns that stay as they are read: labels, ids, and what is excluded.
        never_dates: columns whose whole numbers are amounts.
        only: all columns that are not untouched; None for any.
        never_codes: columns whose whole numbers are no codes, whatever zeros they start with.

    Attributes:
        formats: those of columns that are not read as they stand, once there was a table.
        codes: columns of digits with leading zeros, which stay text.
        remarks: what was recognised in it and would surprise.
    """

    def __init__(
        self,
        options: Parsing | None = None,
        untouched: Collection[str | None] = (),
        never_dates: Collection[str | None] = (),
        only: Collection[str | None] | None = None,
        never_codes: Collection[str | None] = (),
    ) -> None:
        self.options = options or Parsing()
        self.untouched = {name for name in untouched if name is not None}
        self.never_dates = {name for name in never_dates if name is not None}
        self.only = only
        self.never_codes = set(never_codes)
        self.codes: list[str] = []
        self.formats: dict[str, Format] | None = None
        self.header: bool | None = None
        self.separator: str | None = None
        self.remarks: list[str] = []

    def read(self, source: Source) -> Table:
        """Read all rows of a file or a frame.

        Raises:
            DataError: as `read_table`; a column that may be read in two ways, or is not spelt as in the first table.
        """
        if is_frame(source):
            table, csv = Table.read(source), None
        else:
            csv = self._open_csv(source)
            table = Table.of(read_table(source, csv), str(source))
        frame = table.frame
        if self.formats is None:
            notes: list[str] = []
            if csv is not None and (names := self._may_be_codes(frame.schema, csv)):
                text = csv.read(names).head(frame.height)
                notes = self._find_codes(names, [text])
                frame = frame.with_columns(text.select(self.codes))
            finder = self._finder(frame.schema, csv)
            finder.add(frame)
            if csv is not None and finder.commas and (floats := self._floats(frame.schema)):
                text = csv.read(floats).head(frame.height)
                finder = self._finder(frame.schema | dict.fromkeys(floats, pl.String()), csv, floats)
                finder.add(frame.with_columns(text))
            self._decide(finder, source, csv, notes)
        if csv is not None and (names := self._spelt_as_text(frame.schema)):
            frame = frame.with_columns(csv.read(names).head(frame.height))
        return self._convert(replace(table, frame=frame))

    def scan(self, path: str, signature: Signature | None = None, cells: int = 0) -> Scan:
        """Open a file for reading in pieces; raise as `read` does."""
        signature = signature or Signature.of(path)
        csv = self._open_csv(path)
        first = None
        if self.formats is None:
            notes: list[str] = []
            first = schema, batches = scan_table(path, csv)
            if csv is not None and (names := self._may_be_codes(schema, csv)):
                _, texts = scan_table(path, csv, lambda _: names)
                notes = self._find_codes(names, texts(names, scanning.MAX_ROWS))
                if self.codes:
                    first = schema, batches = scan_table(path, csv, lambda _: self.codes)
            finder = self._finder(schema, csv)
            self._look(finder, batches)
            if csv is not None and finder.commas and (floats := self._floats(schema)):
                schema, batches = scan_table(path, csv, lambda _: [*floats, *self.codes])
                finder = self._finder(schema, csv, floats)
                self._look(finder, batches)
            self._decide(finder, path, csv, notes)

        def read(path: str) -> tuple[pl.Schema, Batches]:
            if first is not None and not self._spelt_as_text(first[0]):
                return first  # finding the types of a text file takes a pass
            return scan_table(path, csv, self._spelt_as_text)

        opened = Scan.open(path, signature, read, cells)
        return replace(opened, schema=self._converted(opened.schema), convert=self._convert)

    def scan_large(self, path: Source, cells: int = 0) -> Scan | None:
        """Open a table for reading in pieces; return None if it is in memory, fits into it, or is an Arrow stream."""
        return self.scan(path, cells=cells) if scanning.is_large(path, cells) else None

    def state(self) -> dict[str, Any]:
        """Return what was recognised in plain Python, for a checkpoint; nothing for a table that needs nothing."""
        state: dict[str, Any] = {}
        if self.formats:
            state["formats"] = to_dict(self.formats)
        if self.codes:
            state["codes"] = list(self.codes)
        if self.header is False:
            state["header"] = False
        if self.separator not in (None, ","):
            state["separator"] = self.separator
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the result of `state`."""
        self.formats = from_dict(state.get("formats", {}))
        self.codes = list(state.get("codes", ()))
        self.header, self.separator = state.get("header", True), state.get("separator")

    def _open_csv(self, path: str) -> CsvFile | None:
        options = self.options
        if self.header is False and options.header is None:
            options = replace(options, header=0)
        csv = open_csv(path, options, self.separator)
        if csv is not None and self.header is True and not csv.layout.header and self.options.header is None:
            csv = replace(csv, layout=replace(csv.layout, header=True))
        return csv

    def _finder(
        self, schema: pl.Schema | dict[str, pl.DataType], csv: CsvFile | None, floats: Collection[str] = ()
    ) -> FormatFinder:
        separator = None if csv is None else csv.layout.separator
        untouched = self.untouched | (set() if self.only is None else schema.keys() - self.only)
        return FormatFinder(schema, self.options, untouched, self.never_dates, separator, floats)

    def _floats(self, schema: pl.Schema) -> list[str]:
        return [name for name, dtype in schema.items() if dtype == pl.Float64 and name not in self.untouched]

    def _may_be_codes(self, schema: pl.Schema, csv: CsvFile) -> list[str]:
        """Return the columns that are read as whole numbers and may be codes."""
        if self.only is not None or self.options.decimal is not None:
            return []
        known = self.untouched | self.never_codes
        names = [name for name, dtype in schema.items() if dtype.is_integer() and name not in known]
        return names if names and csv.has_padded_cells() else []

    def _find_codes(self, names: list[str], texts: Iterable[pl.DataFrame]) -> list[str]:
        """Find `codes` among columns that are given as text, and return what to tell of them."""
        evidence = {name: CodeEvidence() for name in names}
        for frame in texts:
            for name in names:
                evidence[name].add(frame[name])
        self.codes = [name for name in names if evidence[name].certain]
        return [
            f"{name}: codes such as {evidence[name].example}, not numbers; data.decimal=point makes numbers of them"
            for name in self.codes
        ]

    def _look(self, finder: FormatFinder, batches: Batches) -> None:
        if not finder.open:
            return
        for frame in batches(finder.open, scanning.MAX_ROWS):
            finder.add(frame)
            if not finder.open:
                break

    def _decide(self, finder: FormatFinder, source: Source, csv: CsvFile | None, notes: list[str]) -> None:
        try:
            found: Found = finder.find()
        except Ambiguous as error:
            raise DataError(f"{name_of(source)}: {error}") from None
        self.formats = found.formats
        if csv is not None:
            self.header, self.separator = csv.layout.header, csv.layout.separator
        self.remarks = [*(csv.layout.notes if csv is not None else ()), *notes, *found.remarks]

    def _spelt_as_text(self, schema: pl.Schema) -> list[str]:
        """Return the columns that would be numbers: codes, and those with a point between thousands."""
        codes = [name for name in self.codes if name in schema and schema[name].is_integer()]
        return codes + [
            name
            for name, found in (self.formats or {}).items()
            if isinstance(found, NumberFormat) and found.decimal == "," and schema.get(name) == pl.Float64
        ]

    def _converted(self, schema: pl.Schema) -> pl.Schema:
        """Return the types of the columns once they are converted."""
        types = dict(schema)
        for name, found in (self.formats or {}).items():
            if name in schema and _applies(found, schema[name]):
                types[name] = found.parse(pl.Series(name, [], schema[name])).dtype
        return pl.Schema(types)

    def _convert(self, table: Table) -> Table:
        """Convert the columns that have a format; raise a DataError for a cell that is not of it."""
        columns = []
        for name, found in (self.formats or {}).items():
            if name not in table.frame.columns or not _applies(found, table.frame.schema[name]):
                continue
            column = table.frame[name]
            bad = found.unreadable(column)
            if bad.any():
                cell = column.filter(bad)[0]
                form = (
                    f"of the form {found.form}"
                    if isinstance(found, DateFormat)
                    else "a number as in the others"
                )
                raise table.error(name, f"{cell!r} is not {form}", bad)
            columns.append(found.parse(column))
        return replace(table, frame=table.frame.with_columns(columns)) if columns else table


def _applies(found: Format, dtype: pl.DataType) -> bool:
    return dtype == pl.String or (isinstance(found, DateFormat) and dtype.is_integer())
