"""Recognises how a column spells dates: year first as ISO 8601 does, or the day or the month first."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

YEAR_FIRST = r"^\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T]|$)"
TIME_OF_DAY = r"^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$"
_TIME = r"(?: \d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?)?$"
# Orders of day, month and year that a form leaves open. With a point the day is first everywhere.
_LONG, _SHORT = ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y"), ("%d{0}%m{0}%y", "%m{0}%d{0}%y", "%y{0}%m{0}%d")
_NUMERIC = (
    (r"^\d{1,2}/\d{1,2}/\d{4}", "/", _LONG),
    (r"^\d{1,2}-\d{1,2}-\d{4}", "-", _LONG),
    (r"^\d{1,2}\.\d{1,2}\.\d{4}", ".", _LONG[:1]),
    (r"^\d{1,2}/\d{1,2}/\d{2}", "/", _SHORT),
    (r"^\d{2}-\d{2}-\d{2}", "-", _SHORT),
    (r"^\d{2}\.\d{2}\.\d{2}", ".", _SHORT[:1]),
)
_NAMED = (
    (r"^\d{1,2}-[A-Za-z]{3,9}-\d{4}", "%d-%b-%Y"),
    (r"^\d{1,2}-[A-Za-z]{3,9}-\d{2}", "%d-%b-%y"),
    (r"^\d{1,2} [A-Za-z]{3,9} \d{4}", "%d %b %Y"),
    (r"^[A-Za-z]{3,9} \d{1,2}, \d{4}", "%b %d, %Y"),
)
FEWEST_WHOLE = 10  # distinct whole numbers such as 20200131 that make a column one of dates


@dataclass(frozen=True)
class DateFormat:
    """Spells dates in the notation of strptime; `MARKERS` of numbers are no dates here."""

    form: str

    def parse(self, column: pl.Series) -> pl.Series:
        """Convert text or whole numbers to dates, or to moments if the form has a time; null where it does not fit."""
        text = column.cast(pl.String).str.strip_chars()
        if not re.search("%[HIMSpTRXcs]", self.form):
            return text.str.to_date(self.form, strict=False).alias(column.name)
        return text.str.to_datetime(self.form, time_unit="us", strict=False).alias(column.name)

    def unreadable(self, column: pl.Series) -> pl.Series:
        """Return where a cell is no date of this form."""
        return self.parse(column).is_null() & column.is_not_null()


def iso_dtype(text: pl.Series) -> pl.DataType | None:
    """Return the type of text that spells dates, moments or times of day as ISO 8601 does, else None.

    The year is first, behind it `-`, `/` or `.`; missing cells do not count.
    """
    values = text.drop_nulls()
    if not len(values):
        return None
    first = values[0]
    if re.search(TIME_OF_DAY, first):
        parsed = values.str.to_time(strict=False)
        return pl.Time() if parsed.null_count() == 0 else None
    if not re.search(YEAR_FIRST, first) or not values.str.contains(YEAR_FIRST).all():
        return None
    parsed = _iso_dates(values, len(first) > 10 or " " in first)
    return parsed.dtype if parsed.null_count() == 0 else None


def parse_iso(text: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Convert text to the type that `iso_dtype` has found."""
    if text.null_count() == len(text):
        return text.cast(dtype)
    if dtype == pl.Time:
        return text.str.to_time(strict=False)
    return _iso_dates(text, dtype != pl.Date).cast(dtype)


def _iso_dates(values: pl.Series, moments: bool) -> pl.Series:
    try:
        return (
            values.str.to_datetime(time_unit="us", strict=False)
            if moments
            else values.str.to_date(strict=False)
        )
    except pl.exceptions.PolarsError:  # the first value is of no form that polars knows
        return pl.Series(values.name, [None] * len(values), pl.Date)


class DateEvidence:
    """Collects what the cells of one column tell of its spelling of dates, piece by piece.

    given    the form that the user has given, as long as all cells fit it
    forms    others that all cells so far fit; several where 01/02/2020 may be a day of January or of February
    mixed    the first cells look like dates, but not all are of one form
    """

    def __init__(self, given: str | None = None) -> None:
        self.given, self.known = given, False
        self.forms: list[str] | None = None
        self.shape = ""
        self.mixed = False
        self.example: str | None = None

    @property
    def alive(self) -> bool:
        """Return whether further cells can tell something."""
        return self.forms is None or bool(self.forms) or self.given is not None

    def add(self, text: pl.Series) -> None:
        """Look at further cells: stripped text without missing ones."""
        if not len(text) or not self.alive:
            return
        if self.given is not None:
            self.known = True
            if DateFormat(self.given).parse(text).null_count():
                self.given = None
        started = self.forms is None
        if self.forms is None:
            self.example = text[0]
            self.shape, self.forms = _forms_of(text[0])
        if self.forms and not text.str.contains(self.shape).all():
            self.forms = []
        self.forms = [form for form in self.forms if DateFormat(form).parse(text).null_count() == 0]
        if len(self.forms) > 1:
            different = text.filter(
                DateFormat(self.forms[0]).parse(text) != DateFormat(self.forms[1]).parse(text)
            )
            self.example = different[0] if len(different) else self.example
        if not self.forms and started:
            dates = all(_looks_like_date(cell) for cell in text.head(100))
            self.mixed = dates and not text.str.contains(YEAR_FIRST).all()

    @property
    def certain(self) -> list[str]:
        """Return the form that was given if all cells fit it, else those that they fit."""
        return [self.given] if self.given is not None and self.known else self.forms or []


def _looks_like_date(cell: str) -> bool:
    return bool(re.search(YEAR_FIRST, cell) or _forms_of(cell)[1])


def _forms_of(cell: str) -> tuple[str, list[str]]:
    """Return the shape of a date as a pattern, and the forms that cells of this shape can have."""
    for shape, mark, orders in _NUMERIC:
        if re.search(shape + _TIME, cell):
            return shape + _TIME, [order.format(mark) + _time_form(cell) for order in orders]
    for shape, form in _NAMED:
        if re.search(shape + _TIME, cell):
            word = max(re.findall("[A-Za-z]+", cell), key=len)
            return shape + _TIME, [form.replace("%b", "%B" if len(word) > 3 else "%b") + _time_form(cell)]
    return "", []


def _time_form(cell: str) -> str:
    """Return the form of the time behind a date, if there is one."""
    found = re.search(r" \d{1,2}:\d{2}(:\d{2})?(\.\d+)?( ?)([AaPp][Mm])?$", cell)
    if found is None:
        return ""
    seconds = (":%S" if found[1] else "") + ("%.f" if found[2] else "")
    return f" {'%I' if found[4] else '%H'}:%M{seconds}{found[3] + '%p' if found[4] else ''}"


def is_whole_date(values: pl.Series) -> bool:
    """Return whether each of these whole numbers is a date such as 20200131, from 1900 to 2100."""
    if not len(values) or values.min() < 19000101 or values.max() > 21001231:  # type: ignore[operator]
        return False
    return DateFormat("%Y%m%d").parse(values).null_count() == 0
