"""Reports problems of a user's data: one message that names the file, the column and the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class DataError(ValueError):
    """Reports that the data cannot be used; the message says where and why."""


def name_rows(rows: Iterable[int], limit: int = 5) -> str:
    """Format row numbers as `row 3` or `rows 3, 8, 12, … (41 in all)`.

    rows: positions from 0 in the file's data (the header is not counted); the text counts from 1.
    """
    numbers = [int(row) + 1 for row in rows]
    if len(numbers) == 1:
        return f"row {numbers[0]}"
    shown = ", ".join(map(str, numbers[:limit]))
    return f"rows {shown}" if len(numbers) <= limit else f"rows {shown}, … ({len(numbers)} in all)"


def did_you_mean(name: str, known: Sequence[str], limit: int = 12) -> str:
    """Suggest a name as `; did you mean 'arr_delay'?` if one is close, else list `; there are 'a', 'b', …`."""
    lowered = {other.lower(): other for other in known}
    close = get_close_matches(name.lower(), lowered, n=1)
    if close:
        return f"; did you mean {lowered[close[0]]!r}?"
    shown = ", ".join(map(repr, known[:limit])) + (", …" if len(known) > limit else "")
    return f"; there are {shown}" if known else "; there are none"
