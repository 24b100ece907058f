"""Tells what a stream can show: how wide its lines are, whether they can be replaced, which characters it has."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

CLEAR = "\r\x1b[2K"  # empties the last line of a terminal
WRAPPED = 100  # characters of a line of text where there is no terminal
_UNKNOWN = 80  # of a terminal that does not say it
_NARROWEST = 20
_STYLES = {"bold": "1", "red": "1;31", "yellow": "33", "green": "32"}


@dataclass(frozen=True)
class Screen:
    """Holds what a stream can show.

    width     the most characters of a line; None where there is no terminal to fit. `COLUMNS` overrides it
    is_live   whether a line can be replaced by another: a terminal, unless `TERM=dumb`
    styled    whether bold and colours are shown: not where `NO_COLOR` is set either
    plain     returns a text with the characters that the stream has
    """

    width: int | None
    is_live: bool
    styled: bool
    plain: Callable[[str], str]

    @classmethod
    def of(cls, stream: TextIO) -> Screen:
        """Look at a stream as it is now: people resize windows."""
        terminal = is_terminal(stream)
        live = terminal and os.environ.get("TERM") != "dumb"
        return cls(_width(stream, terminal), live, live and not os.environ.get("NO_COLOR"), _plain(stream))

    @property
    def text_width(self) -> int:
        """Return the most characters of a line of text, which is broken without a terminal too."""
        return WRAPPED if self.width is None else self.width

    def style(self, name: str, text: str) -> str:
        """Return a text in `bold`, `red`, `yellow` or `green`, where the stream shows it."""
        return f"\x1b[{_STYLES[name]}m{text}\x1b[0m" if self.styled and text else text


def short_value(text: str) -> str:
    """Round a number of many digits to four significant ones; leave any other value of an override as it is."""
    try:
        rounded = f"{float(text):.4g}"
    except ValueError:
        return text
    return rounded if len(rounded) < len(text) and len(text) > 8 else text


def duration(seconds: float) -> str:
    """Format a time as people say it: `45 s`, `4 min`, `2.5 h`, `3 days`."""
    if seconds < 100:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal; a closed one is none."""
    try:
        return stream.isatty()
    except (ValueError, OSError):
        return False


def _width(stream: TextIO, terminal: bool) -> int | None:
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() else 0
    if not width and terminal:
        try:
            width = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):
            width = 0
        width = width or _UNKNOWN
    return max(_NARROWEST, width) if width else None


def _plain(stream: TextIO) -> Callable[[str], str]:
    encoding, errors = getattr(stream, "encoding", None) or "utf-8", getattr(stream, "errors", None)
    return lambda text: (
        text if text.isascii() else text.encode(encoding, errors or "replace").decode(encoding)
    )
