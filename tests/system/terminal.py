"""A pseudo-terminal for the real command line, and what a person sees on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")


@dataclass(frozen=True)
class Seen:
    """Exit code, the bytes that were written, the lines that stay on the screen, standard output where it is apart."""

    code: int
    raw: str
    lines: list[str]
    out: str


def on_terminal(
    folder: Path,
    *arguments: str,
    width: int = 80,
    keys: tuple[tuple[str, bytes], ...] = (),
    pipe: bool = False,
    **environment: str,
) -> Seen:
    """Call `mlfund` on a terminal of `width` columns.

    Args:
        folder: the working folder.
        arguments: the words behind `mlfund`.
        width: of the terminal.
        keys: texts, each with the keys that are pressed when it has appeared.
        pipe: standard output is a pipe, as in `mlfund … | jq`.
        environment: further variables.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    reader, writer = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        if pipe:
            os.dup2(writer, 1)
        variables = {**inherited, "TERM": "xterm", "OMP_NUM_THREADS": "1", **environment}
        os.execve(sys.executable, [sys.executable, "-m", "lit_mlfund", *arguments], variables)
    os.close(writer)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    raw, waiting, deadline = b"", list(keys), time.monotonic() + 300
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            raw += os.read(terminal, 65536)
        except OSError:  # the terminal of a process that has ended
            break
        while waiting and waiting[0][0].encode() in raw:
            os.write(terminal, waiting.pop(0)[1])
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    with open(reader, encoding="utf-8") as stream:
        out = stream.read()
    text = raw.decode("utf-8", "replace")
    return Seen(os.waitstatus_to_exitcode(status), text, screen(text, width), out)


def screen(text: str, width: int) -> list[str]:
    """Return the lines that a terminal shows in the end, without limit of height; a longer line goes on in the next."""
    lines: list[list[str]] = [[]]
    column = position = 0
    while position < len(text):
        if sequence := SEQUENCE.match(text, position):
            position = sequence.end()
            if sequence[2] == "K":
                lines[-1] = [] if sequence[1] == "2" else lines[-1][:column]
            continue
        char, position = text[position], position + 1
        if char == "\r":
            column = 0
        elif char == "\n" or column >= width:
            lines.append([])
            column = 0 if char != "\n" else column
        if char not in "\r\n":
            row = lines[-1]
            row.extend(" " * (column + 1 - len(row)))
            row[column] = char
            column += 1
    return ["".join(line).rstrip() for line in lines]
