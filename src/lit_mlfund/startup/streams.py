"""Prints to standard streams of any kind: in ASCII, closed, full or read by nobody, none of which ends a run."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lit_mlfund.startup.screen import CLEAR, Screen, is_terminal

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
_FLAGS = ("json", "quiet", "verbose", "brief")
_VARIABLE = "MLFUND_OUTPUT"
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


@dataclass
class Output:
    """Holds what a command prints where; a program that calls ours prints all text to standard output.

    json     the result is one line of JSON on standard output, and everything else goes to standard error
    quiet    nothing but the result
    verbose  also what Lightning says
    brief    of a run only its data: a line of the sweep stands for the rest

    has_status says whether the last line of the terminal is one that `show_status` wrote.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    brief: bool = False
    has_status: bool = False

    @property
    def stream(self) -> TextIO:
        """Return the stream that people read."""
        return sys.stderr if self.json else sys.stdout

    @property
    def screen(self) -> Screen:
        """Return what the stream that people read can show."""
        return Screen.of(self.stream)

    @property
    def is_for_people(self) -> bool:
        """Return whether nobody but a person reads, who has not asked for all that is said."""
        return not self.json and not self.verbose

    @property
    def flags(self) -> dict[str, bool]:
        """Return the flags by name."""
        return {name: getattr(self, name) for name in _FLAGS}

    @property
    def environment(self) -> dict[str, str]:
        """Return the variable by which a process that this one starts prints alike."""
        return {_VARIABLE: " ".join(name for name, is_set in self.flags.items() if is_set)}

    def follow_parent(self) -> None:
        """Print as the process that has started this one; as before where it says nothing."""
        words = os.environ.pop(_VARIABLE, "").split()
        self._take({name: name in words for name in _FLAGS})

    @contextmanager
    def set(
        self, json: bool = False, quiet: bool = False, verbose: bool = False, brief: bool = False
    ) -> Iterator[None]:
        """Print so in the block, and as before behind it."""
        before = self.flags
        self._take({"json": json, "quiet": quiet, "verbose": verbose, "brief": brief})
        try:
            yield
        finally:
            self._take(before)

    def _take(self, flags: dict[str, bool]) -> None:
        for name, is_set in flags.items():
            setattr(self, name, is_set)


OUTPUT = Output()  # of this process


def say(text: str) -> bool:
    """Print what a person reads meanwhile; return whether that was possible, otherwise give the reason on stderr."""
    return True if OUTPUT.quiet or OUTPUT.brief else _print(text, OUTPUT.stream)


def say_result(text: str) -> bool:
    """Print the result as a person reads it; with `--quiet` not beside the same as JSON."""
    return True if OUTPUT.quiet and OUTPUT.json else _print(text, OUTPUT.stream)


def say_json(text: str) -> bool:
    """Print the result for a program: a line of JSON, in ASCII where standard output does not have its characters."""
    if not OUTPUT.json:
        return True
    if not _encodable(text):
        text = "".join(char if char.isascii() else _json_escape(char) for char in text)
    return _print(text, sys.stdout)


def show_status(text: str) -> None:
    """Replace the last line of a terminal by what is going on, until anything else is said; an empty text clears it.

    It is on standard error, as a program may read the other stream.
    """
    screen = Screen.of(sys.stderr)
    if screen.is_live and not OUTPUT.quiet and not OUTPUT.verbose:  # Lightning would write behind it
        with suppress(OSError):
            sys.stderr.write(f"{CLEAR}{screen.plain(text)[: screen.text_width - 1]}")
            sys.stderr.flush()
        OUTPUT.has_status = bool(text)


def announce(text: str) -> None:
    """Say to a person who waits what takes a while from now on: as the status, or in a line where none is replaced."""
    show_status(text)
    replaced = Screen.of(sys.stderr).is_live and not OUTPUT.verbose
    if is_terminal(sys.stderr) and not replaced and not OUTPUT.quiet:
        warn(text)


def warn(text: str) -> None:
    """Print a line to standard error, if that is possible."""
    if OUTPUT.has_status:
        show_status("")
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _print(text: str, stream: TextIO) -> bool:
    if OUTPUT.has_status:
        show_status("")
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if stream is not sys.stdout:
            return True  # nobody can be told
        _discard_stdout()
        if not isinstance(error, BrokenPipeError):  # `mlfund … | head`: nobody wants to read on
            warn(f"mlfund: cannot write to standard output: {error.strerror or error}")
        return isinstance(error, BrokenPipeError)
    return True


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
