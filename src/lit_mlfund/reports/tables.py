"""Writes tables of plain text that fit a width: whole columns are left out rather than any line broken."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

CUT = "…"


def number(value: float | None) -> str:
    """Format a number with four significant digits; a missing one becomes a dash."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], two_lines: bool = False) -> str:
    """Align columns with spaces: the first to the left, the others to the right.

    With `two_lines` a header of several words is broken at its last blank.
    """
    heads = [list(header)]
    if two_lines:
        heads = [list(line) for line in zip(*(cell.rpartition(" ")[::2] for cell in header))]
    widths = [max(cells(row[column]) for row in [*heads, *rows]) for column in range(len(header))]
    lines = [
        "  ".join(
            cell + " " * (width - cells(cell)) if not column else " " * (width - cells(cell)) + cell
            for column, (cell, width) in enumerate(zip(row, widths))
        )
        for row in [*heads, *rows]
    ]
    return "\n".join([*lines[: len(heads)], "─" * cells(lines[0]), *lines[len(heads) :]])


def fitting_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    rest: str = "in the report",
    cut: str = CUT,
) -> str:
    """Format a table within `width`: columns that do not fit are left out from the right, and counted below.

    Before a column goes, headers are set on two lines. Where two columns are still too wide, the first is cut.

    Args:
        header: the columns, the most important ones first.
        rows: their cells.
        width: the most characters of a line; None for no limit.
        rest: where the columns are that are left out, as in `+2 in the report`.
        cut: what a cut cell ends with.
    """
    for size in range(len(header), 0, -1):
        for two_lines in (False, True):
            text = format_table(header[:size], [row[:size] for row in rows], two_lines)
            if width is None or cells(text.partition("\n")[0]) <= width:
                return (
                    text
                    if size == len(header)
                    else f"{text}\n{clip(f'+{len(header) - size} {rest}', width, cut)}"
                )
        if size <= 2:
            break
    assert width is not None
    room = max(width - (cells(text.partition("\n")[0]) - max(cells(row[0]) for row in [header, *rows])), 2)
    short = [[clip(row[0], room, cut), *row[1:size]] for row in rows]
    text = format_table([clip(header[0], room, cut), *header[1:size]], short, two_lines=True)
    left_out = [f"+{len(header) - size} {rest}"] if size < len(header) else []
    return "\n".join(clip(line, width, cut) for line in [*text.splitlines(), *left_out])


def clip(text: str, width: int | None, cut: str = CUT) -> str:
    """Cut a line that is wider than `width`, and end it with the one character of `cut`."""
    if width is None or cells(text) <= width:
        return text
    while text and cells(text) >= width:
        text = text[:-1]
    return text + cut


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes: two for a wide character, none for an accent of its own."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
