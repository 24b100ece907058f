"""Reads columns of a user's file as numbers, labels or timestamps; errors name the rows that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from lit_mlfund.data.parsing.dates_in_text import YEAR_FIRST
from lit_mlfund.data.parsing.numbers_in_text import MARKERS
from lit_mlfund.data.reading.errors import DataError, name_rows
from lit_mlfund.data.reading.frames import IN_MEMORY, Source, is_frame, to_polars
from lit_mlfund.data.reading.read import read_table


@dataclass(frozen=True)
class Table:
    """Holds rows `frame` of the file `source`; `rows [N]` are their positions in it, counted from 0."""

    frame: pl.DataFrame
    source: str
    rows: np.ndarray

    @classmethod
    def of(cls, frame: pl.DataFrame, source: str) -> Self:
        """Wrap all rows of `frame`."""
        return cls(frame, source, np.arange(frame.height))

    @classmethod
    def read(cls, source: Source) -> Self:
        """Read all rows of a file, or take those of a frame of polars or pandas; raise as `read_table` does."""
        if is_frame(source):
            frame = to_polars(source)
            if frame.height == 0 or frame.width == 0:
                raise DataError(f"{IN_MEMORY} has no rows")
            return cls.of(frame, IN_MEMORY)
        return cls.of(read_table(source), str(source))

    def __len__(self) -> int:
        return self.frame.height

    def take(self, index: np.ndarray, split: str) -> Self:
        """Return the rows at `index`, which are the split named `split`."""
        return type(self)(self.frame[index], f"{self.source} ({split})", self.rows[index])

    def slice(self, start: int, length: int | None = None) -> Self:
        """Return `length` rows from `start` on, or all of them."""
        rows = self.rows[start:] if length is None else self.rows[start : start + length]
        return type(self)(self.frame.slice(start, length), self.source, rows)

    def drop_missing(self, name: str) -> Self:
        """Return the rows that have a value in the column `name`."""
        column = self.frame[name]
        present = (
            column.is_not_null() & column.is_not_nan() if column.dtype.is_float() else column.is_not_null()
        )
        if present.all():
            return self
        index = present.arg_true().to_numpy()
        return type(self)(self.frame[index], self.source, self.rows[index])

    def error(self, name: str, problem: str, bad: np.ndarray | pl.Series, hint: str = "") -> DataError:
        """Build the error that names this file, the column and the rows where `bad [N]` is True, and what helps."""
        rows = name_rows(self.rows[np.asarray(bad)])
        return DataError(f"{self.source}: column {name!r}: {problem}: {rows}{hint and '; '}{hint}")

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float64 `[N]`, NaN where missing.

        Raises:
            DataError: the column has text, dates or infinite values.
        """
        column = self.frame[name]
        if column.dtype == pl.Duration:
            column = column.dt.total_microseconds() / 1e6
        elif column.dtype == pl.Time:
            column = column.cast(pl.Int64) / 1e9
        elif column.dtype.is_temporal() or column.dtype.is_nested() or column.dtype == pl.Binary:
            raise DataError(f"{self.source}: column {name!r}: {column.dtype} where a number belongs")
        elif not column.dtype.is_numeric():
            parsed = _parse_numbers(column)
            bad = parsed.is_null() & column.is_not_null()
            if column.dtype == pl.String:
                bad &= ~column.str.strip_chars().is_in(MARKERS)
            if bad.any():
                example = column.filter(bad)[0]
                raise self.error(name, f"text where a number belongs ({example!r})", bad.fill_null(False))
            column = parsed
        values = column.cast(pl.Float64).to_numpy()
        if np.isinf(values).any():
            raise self.error(name, "infinite values", np.isinf(values))
        return values

    def labels(self, name: str) -> pl.Series:
        """Return a column as text: 1, 1.0 and "1" are the same label, whatever other rows hold."""
        column = self.frame[name]
        if column.dtype.is_float():
            column = column.fill_nan(None)
            whole = column.cast(pl.Int64, strict=False).set(column % 1 != 0, None).cast(pl.String)
            return whole.zip_with(whole.is_not_null(), column.cast(pl.String))
        return column.cast(pl.String)

    def codes(self, name: str) -> np.ndarray:
        """Return a column without missing cells as int64 codes `[N]` from 0, equal for equal labels."""
        return self.labels(name).rank("dense").cast(pl.Int64).to_numpy() - 1

    def timestamps(self, name: str) -> pl.Series:
        """Return a column of dates, or of their text with the year first, as microseconds of wall-clock time.

        Raises:
            DataError: a value is not a date.
        """
        column = self.frame[name]
        if column.dtype == pl.Date or column.dtype == pl.Null:
            return column.cast(pl.Datetime("us"))
        if column.dtype == pl.String:
            bad = ~column.str.contains(YEAR_FIRST).fill_null(True)
            if not bad.any():
                parsed = column.str.to_datetime(time_unit="us", strict=False)
                bad = parsed.is_null() & column.is_not_null()
            if bad.any():
                problem = f"not a date ({column.filter(bad)[0]!r})"
                raise self.error(
                    name, problem, bad, hint="data.date_format= tells a form other than 2020-01-31"
                )
            column = parsed
        if not isinstance(column.dtype, pl.Datetime):
            raise DataError(f"{self.source}: column {name!r}: {column.dtype} where a date belongs")
        return column.dt.replace_time_zone(None).cast(pl.Datetime("us"))


def join(*tables: Table) -> Table:
    """Concatenate several pieces of one file."""
    frame = pl.concat([table.frame for table in tables])
    return Table(frame, tables[0].source, np.concatenate([table.rows for table in tables]))


def _parse_numbers(column: pl.Series) -> pl.Series:
    """Convert text or booleans to numbers; a cell that is not a number becomes null."""
    if column.dtype in (pl.Boolean, pl.Null):
        return column.cast(pl.Float64)
    return column.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
