"""Prints to standard streams of any kind: in ASCII, closed, full or read by nobody, none of which ends a run."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# What our texts use beyond ASCII, for encodings that lack it.
_PLAIN = {
    "─": "-",
    "━": "#",
    "╌": ".",
    "…": "...",
    "–": "-",
    "−": "-",
    "·": "-",
    "×": "x",
    "²": "^2",
    "±": "+-",
    "\u00a0": " ",
}
_HANDLER = "lit_mlfund.plain"


def prepare_streams() -> None:
    """Let standard output and error print every character: as a similar one or as an escape where they lack it.

    A stream that is closed is replaced by one that discards.
    """
    codecs.register_error(_HANDLER, _plain)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the rest of the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def say(text: str, result: bool = False) -> bool:
    """Print `text` to standard output and return whether that was possible; otherwise give the reason on stderr.

    Args:
        text: one or more lines.
        result: `text` is JSON, and becomes ASCII where the stream's encoding does not have its characters.
    """
    try:
        if result and not _encodable(text):
            text = "".join(char if char.isascii() else _json_escape(char) for char in text)
        print(text, flush=True)
    except OSError as error:
        _discard_stdout()
        if not isinstance(error, BrokenPipeError):  # `mlfund … | head`: nobody wants to read on
            warn(f"mlfund: cannot write to standard output: {error.strerror or error}")
        return isinstance(error, BrokenPipeError)
    return True


def warn(text: str) -> None:
    """Print a line to standard error, if that is possible."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def not_utf8(texts: Iterable[str | Path]) -> list[str]:
    """Return a message for each argument or path whose bytes are not UTF-8, as libraries beside Python need them."""
    return [
        f"{str(text)!r} is not UTF-8; rename it: run folders and files of data need names in UTF-8"
        for text in texts
        if any("\ud800" <= char <= "\udfff" for char in str(text))
    ]


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handle a UnicodeEncodeError as `codecs.register_error` expects it: the replacement, and where to go on."""
    assert isinstance(error, UnicodeEncodeError)
    failed = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char) or _json_escape(char) for char in failed), error.end


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _encodable(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _discard_stdout() -> None:
    """Send what is still buffered nowhere, or Python's own flush at exit fails once more, with code 120."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
