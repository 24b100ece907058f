"""Recognises how a column of text spells numbers: its decimal mark, and the mark between thousands."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

# Cells that stand for a missing number where all others are numbers; `MISSING` has those that do so everywhere.
MARKERS = (
    "-", "--", "---", "–", "—", ".", "..", "...", "*", "#N/A", "#NA", "#VALUE!", "#DIV/0!", "#REF!", "1.#QNAN",
    "-1.#IND", "<NA>", "N.A.", "n.a.", "na", "NAN", "none", "nil", "missing", "Missing", "unknown", "Unknown",
)  # fmt: skip
SPACES = " \u00a0\u202f\u2009"


@dataclass(frozen=True)
class NumberFormat:
    """Spells numbers with a mark of decimals and one of thousands, which may be empty; `MARKERS` are missing."""

    decimal: str = "."
    thousands: str = ""

    def matches(self, text: pl.Series) -> bool:
        """Return whether each of these stripped texts is a number of this form."""
        return bool(text.str.contains(self._pattern).all())

    @property
    def _pattern(self) -> str:
        decimal, mark = (
            re.escape(self.decimal),
            f"[{SPACES}]" if self.thousands == " " else re.escape(self.thousands),
        )
        whole = rf"(?:[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|\d+)" if self.thousands else r"\d+"
        return rf"^[+-]?(?:{whole}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?$"

    def parse(self, column: pl.Series) -> pl.Series:
        """Convert text to numbers; a cell of another form, or that means a missing value, becomes null."""
        text = column.cast(pl.String).str.strip_chars()
        if self != PLAIN:
            text = text.set(~text.str.contains(self._pattern), None)
            for mark in SPACES if self.thousands == " " else self.thousands:
                text = text.str.replace_all(mark, "", literal=True)
            text = text.str.replace_all(self.decimal, ".", literal=True)
        return text.cast(pl.Float64, strict=False).alias(column.name)

    def unreadable(self, column: pl.Series) -> pl.Series:
        """Return where a cell is neither a number of this form nor one that means a missing value."""
        text = column.cast(pl.String).str.strip_chars()
        return self.parse(column).is_null() & text.is_not_null() & ~text.is_in(MARKERS)


PLAIN = NumberFormat()
ENGLISH, CONTINENTAL = NumberFormat(".", ","), NumberFormat(",", ".")
STYLES = (
    PLAIN,
    ENGLISH,
    CONTINENTAL,
    NumberFormat(".", " "),
    NumberFormat(",", " "),
    NumberFormat(".", "'"),
)


class NumberEvidence:
    """Collects what the cells of one column tell of its spelling of numbers, piece by piece.

    alive     the styles that all cells so far fit
    markers   cells that mean a missing value, with how often they occur
    numbers   other cells
    marked    cells with a comma, and whether there are others; whether one of those has four digits or more
    """

    def __init__(self) -> None:
        self.alive = list(STYLES)
        self.markers: dict[str, int] = {}
        self.numbers = self.marked = 0
        self.unmarked = self.long = self.padded = False
        self.examples: dict[str, None] = {}

    def add(self, text: pl.Series) -> None:
        """Look at further cells: stripped text without missing ones."""
        first = text.head(100).filter(~text.head(100).is_in(MARKERS))  # enough for most columns of words
        self.alive = [style for style in self.alive if _fits(style, first)]
        if not self.alive:
            return
        is_marker = text.is_in(MARKERS)
        cells = text.filter(~is_marker)
        self.alive = [style for style in self.alive if _fits(style, cells)]
        if not self.alive:
            return
        for label, count in text.filter(is_marker).alias("label").value_counts().iter_rows():
            self.markers[label] = self.markers.get(label, 0) + count
        self.numbers += len(cells)
        comma = cells.str.contains(",", literal=True)
        self.marked += int(comma.sum())
        others = cells.filter(~comma)
        self.unmarked |= bool(len(others))
        self.long |= bool(others.str.contains(r"^\D*\d{4}").any())
        self.padded |= bool(cells.str.contains(r"^0\d").any())
        if len(self.examples) < 20:
            self.examples.update(dict.fromkeys(cells.unique(maintain_order=True).head(20)))

    def candidates(self, decimal: str | None, thousands: str | None) -> list[NumberFormat]:
        """Return the styles that fit the cells and what is said of them, of several that read alike the first.

        Two are left where 1,399 may be 1399 or 1.399.
        """
        found = [
            style
            for style in self.alive
            if decimal in (None, style.decimal) and (thousands in (None, style.thousands) or style == PLAIN)
        ]
        if not found or PLAIN in found or self.numbers == 0:
            return found[:1] if self.numbers else []
        if ENGLISH in found and CONTINENTAL in found:
            if self.long:  # 1500 without a mark: 1,399 is no thousand either
                return [CONTINENTAL]
            return [ENGLISH] if self.marked >= 20 and self.unmarked else [ENGLISH, CONTINENTAL]
        return found[:1]


def _fits(style: NumberFormat, cells: pl.Series) -> bool:
    if style == PLAIN:
        return cells.cast(pl.Float64, strict=False).null_count() == 0
    return style.matches(cells)
