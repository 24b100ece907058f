"""Recognises the columns of text that spell numbers or dates in forms of their own, over the whole table."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from lit_mlfund.data.parsing.dates_in_text import (
    FEWEST_WHOLE,
    DateEvidence,
    DateFormat,
    is_whole_date,
)
from lit_mlfund.data.parsing.numbers_in_text import CONTINENTAL, ENGLISH, PLAIN, NumberEvidence, NumberFormat
from lit_mlfund.data.parsing.options import WORDS, Parsing

Format = NumberFormat | DateFormat
MOSTLY_NUMBERS = 0.5


class Ambiguous(ValueError):
    """Reports a column that may be read in two ways, and the option that decides."""


@dataclass
class Found:
    """Holds the formats by column, and what to tell of them."""

    formats: dict[str, Format] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


class _Column:
    """Collects evidence on one column of text."""

    def __init__(self, given: str | None) -> None:
        self.numbers, self.dates = NumberEvidence(), DateEvidence(given)

    @property
    def alive(self) -> bool:
        return bool(self.numbers.alive) or self.dates.alive

    def add(self, column: pl.Series) -> None:
        text = column.drop_nulls().cast(pl.String).str.strip_chars()
        text = text.filter(text != "")
        self.numbers.add(text)
        self.dates.add(text)


class _Whole:
    """Collects evidence on whether a column of whole numbers holds dates such as 20200131."""

    def __init__(self) -> None:
        self.alive = True
        self.distinct: set[int] = set()

    def add(self, column: pl.Series) -> None:
        values = column.drop_nulls()
        self.alive = self.alive and (not len(values) or is_whole_date(values))
        if self.alive and len(self.distinct) < FEWEST_WHOLE:
            self.distinct.update(values.unique().head(FEWEST_WHOLE).to_list())


class FormatFinder:
    """Finds the formats of a table's columns; its pieces are added one after another.

    Args:
        schema: the types of the columns as they are read.
        options: what is given.
        untouched: columns that stay as they are, such as labels, ids, and what is excluded.
        never_dates: columns whose whole numbers are amounts.
        separator: of the cells of a text file.
        floats: columns of numbers with a point, given as text.
    """

    def __init__(
        self,
        schema: Mapping[str, pl.DataType],
        options: Parsing,
        untouched: Collection[str] = (),
        never_dates: Collection[str] = (),
        separator: str | None = None,
        floats: Collection[str] = (),
    ) -> None:
        self.options = options
        self.separator = separator
        self.floats = set(floats)
        self.known = list(schema)
        self.columns: dict[str, _Column | _Whole] = {}
        for name, dtype in schema.items():
            if name in untouched:
                continue
            if dtype == pl.String:
                self.columns[name] = _Column(options.format_of(name))
            elif dtype in (pl.Int64, pl.Int32) and name not in never_dates:
                self.columns[name] = _Whole()

    @property
    def open(self) -> list[str]:
        """Return the columns of which further cells can tell something."""
        return [name for name, column in self.columns.items() if column.alive]

    @property
    def commas(self) -> bool:
        """Return whether a comma is the decimal mark of a column, so that a point may stand between thousands."""
        return self.options.decimal == "," or any(
            CONTINENTAL in column.numbers.alive and PLAIN not in column.numbers.alive
            for column in self.columns.values()
            if isinstance(column, _Column)
        )

    def add(self, frame: pl.DataFrame) -> None:
        """Look at further rows, of the columns `open` at least."""
        for name in self.open:
            self.columns[name].add(frame[name])

    def find(self) -> Found:
        """Decide for each column.

        Raises:
            Ambiguous: a column may be read in two ways.
        """
        found = Found()
        if isinstance(given := self.options.date_format, Mapping) and (unknown := given.keys() - self.known):
            raise Ambiguous(f"data.date_format: no column {min(unknown)!r}")
        texts = {name: column for name, column in self.columns.items() if isinstance(column, _Column)}
        self._find_dates({name: column for name, column in texts.items() if name not in self.floats}, found)
        self._find_numbers(
            {n: column.numbers for n, column in texts.items() if n not in found.formats}, found
        )
        for name, column in self.columns.items():
            if isinstance(column, _Whole) and column.alive and len(column.distinct) >= FEWEST_WHOLE:
                found.formats[name] = DateFormat("%Y%m%d")
                found.remarks.append(f"{name}: dates such as {min(column.distinct)}")
        return found

    def _find_dates(self, texts: Mapping[str, _Column], found: Found) -> None:
        ways = {name: column.dates.certain for name, column in texts.items()}
        certain = {_order(forms[0]) for forms in ways.values() if len(forms) == 1} - {None}
        for name, forms in ways.items():
            dates = texts[name].dates
            if len(forms) > 1 and len(certain) == 1:
                forms = [form for form in forms if _order(form) in certain] or forms
            if self.options.names(name) and forms != [given := self.options.format_of(name)]:
                raise Ambiguous(f"column {name!r}: not all cells are of the form data.date_format={given!r}")
            if len(forms) > 1:
                unfit = f", and not as {self.options.date_format!r}" if self.options.date_format else ""
                said = " or ".join(f"'{form}'" for form in forms)
                raise Ambiguous(
                    f"column {name!r}: {dates.example!r} may be read in several ways{unfit}; say "
                    f"data.date_format={said}, or leave the column out with data.exclude=[{name}]"
                )
            if forms:
                found.formats[name] = DateFormat(forms[0])
                found.remarks.append(f"{name}: dates of the form {forms[0]}")
            elif dates.mixed:
                found.remarks.append(
                    f"{name}: text, as not all of its dates are of the form of {dates.example!r}; data.date_format= "
                    "names another"
                )

    def _find_numbers(self, texts: Mapping[str, NumberEvidence], found: Found) -> None:
        options = self.options
        ways = {
            name: styles
            for name, evidence in texts.items()
            if name not in self.floats
            and (styles := evidence.candidates(options.decimal, options.thousands))
            and not _as_before(evidence, styles)
        }
        commas = any(len(styles) == 1 and styles[0].decimal == "," for styles in ways.values())
        pointed = [name for name in self.floats if CONTINENTAL not in texts[name].alive]
        points = bool(pointed) or any(styles == [ENGLISH] for styles in ways.values())
        for name, styles in ways.items():
            evidence = texts[name]
            example = next(iter(evidence.examples))
            if len(styles) > 1 and commas != points:
                styles = [CONTINENTAL] if commas else [ENGLISH]
            if len(styles) > 1:
                raise Ambiguous(
                    f"column {name!r}: {example!r} may be {_readings(example)}; say data.thousands=comma or "
                    f"data.decimal=comma, or data.categorical=[{name}] if these are codes"
                )
            style = styles[0]
            if style.decimal == "," and options.decimal is None and not self._is_certain(evidence, points):
                found.remarks.append(
                    f"{name}: text, though cells such as {example!r} may be numbers; data.decimal=comma reads them"
                )
                continue
            found.formats[name] = style
            found.remarks.append(f"{name}: numbers{_spelled(style, evidence)}{_missing(evidence.markers)}")
        self._find_thousands(pointed, texts, found)

    def _find_thousands(self, pointed: list[str], texts: Mapping[str, NumberEvidence], found: Found) -> None:
        """Take the points of numbers for marks of thousands where the decimal mark is a comma."""
        given = self.options.decimal == ","
        if not given and (pointed or not comma_columns(found.formats.values())):
            return
        if pointed:
            example = next(iter(texts[pointed[0]].examples))
            raise Ambiguous(
                f"column {pointed[0]!r}: {example!r} has a decimal point, but data.decimal is a comma"
            )
        for name in self.floats:
            found.formats[name] = CONTINENTAL
            example = next(iter(texts[name].examples))
            found.remarks.append(f"{name}: numbers such as {example} with a point between thousands")

    def _is_certain(self, evidence: NumberEvidence, points: bool) -> bool:
        """Return whether a comma in numbers is their decimal mark, and not a part of codes or lists."""
        return not points and (self.separator not in (",", None) or len(evidence.examples) >= 20)


def comma_columns(formats: Iterable[Format]) -> bool:
    """Return whether numbers among these have a decimal comma, so that a point stands between thousands."""
    return any(isinstance(found, NumberFormat) and found.decimal == "," for found in formats)


def to_dict(formats: Mapping[str, Format]) -> dict[str, dict[str, str]]:
    """Return plain Python values, for a checkpoint."""
    return {name: asdict(found) for name, found in formats.items()}


def from_dict(state: Mapping[str, Mapping[str, Any]]) -> dict[str, Format]:
    """Restore formats from the result of `to_dict`."""
    return {
        name: DateFormat(**found) if "form" in found else NumberFormat(**found)
        for name, found in state.items()
    }


def _as_before(evidence: NumberEvidence, styles: list[NumberFormat]) -> bool:
    """Return whether the cells are numbers to everyone, codes with leading zeros, or hardly numbers at all."""
    markers = sum(evidence.markers.values())
    if evidence.numbers <= MOSTLY_NUMBERS * (evidence.numbers + markers):
        return True
    return styles[0] == PLAIN and (not markers or evidence.padded)


def _order(form: str) -> str | None:
    """Return the order of day, month and year of a form of numbers."""
    order = "".join(re.findall("%([dmyY])", form)).lower()
    return order if len(order) == 3 else None


def _readings(cell: str) -> str:
    english, continental = (style.parse(pl.Series([cell]))[0] for style in (ENGLISH, CONTINENTAL))
    return f"{english:.15g} or {continental:.15g}"


def _spelled(style: NumberFormat, evidence: NumberEvidence) -> str:
    if style == PLAIN:
        return ""
    example = max(evidence.examples, key=len)
    marks = [f"a decimal {WORDS[style.decimal]}"]
    if style.thousands and not NumberFormat(style.decimal).matches(pl.Series([example])):
        marks.append(f"a {WORDS[style.thousands]} between thousands")
    return f" such as {example} with {' and '.join(marks)}"


def _missing(markers: Mapping[str, int]) -> str:
    if not markers:
        return ""
    shown = ", ".join(f"{marker!r} ({count} cells)" for marker, count in markers.items())
    return f", missing where the cell is {shown}"
