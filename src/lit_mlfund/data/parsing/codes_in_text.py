"""Recognises codes of digits, such as 01234: numbers would lose the zeros at their start."""

from __future__ import annotations

import re

import polars as pl


def padded_cell(separator: str) -> re.Pattern[bytes]:
    """Return the pattern of a cell of digits that starts with a zero, anywhere in a text file."""
    border = re.escape(separator.encode()) + rb'"\r\n'
    return re.compile(rb"(?:^|[" + border + rb"])0\d+(?:[" + border + rb"]|$)")


class CodeEvidence:
    """Collects whether the cells of one column are codes with leading zeros, piece by piece.

    They are certain to be codes if all cells are digits, two at least, and those with leading zeros are filled up to
    the length of the shortest cell (01234 beside 99999; 007 beside 1234), or all start with a zero.
    """

    def __init__(self) -> None:
        self.digits = self.all_padded = True
        self.shortest: int | None = None
        self.padded: set[int] = set()  # lengths of the cells with leading zeros
        self.example = ""

    def add(self, column: pl.Series) -> None:
        """Look at further cells, as text."""
        text = column.drop_nulls()
        self.digits = self.digits and bool(text.str.contains(r"^\d+$").all())
        if not self.digits or not len(text):
            return
        lengths = text.str.len_bytes()
        starts = text.str.contains(r"^0\d")
        self.padded.update(lengths.filter(starts).unique().to_list())
        self.all_padded = self.all_padded and bool(starts.all())
        least = int(lengths.to_numpy().min())
        self.shortest = least if self.shortest is None else min(self.shortest, least)
        if not self.example and starts.any():
            self.example = text.filter(starts)[0]

    @property
    def certain(self) -> bool:
        """Return whether the cells are codes."""
        filled = self.all_padded or self.padded == {self.shortest}
        return self.digits and bool(self.padded) and (self.shortest or 0) >= 2 and filled
