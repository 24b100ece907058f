"""Starts the command line in forks of a process that has imported everything, and kills it there.

The harness alone knows of this: a fork counts its own operations on files through an audit hook of Python, and kills
itself before the one that it was asked for.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUTPUT, NOTES = "output.txt", "notes.txt"  # beside the folder of a run
_CHANGES = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Kill:
    """Says how a run is disturbed.

    number     the signal
    after      seconds from the start to the signal; None for a kill by operation
    operation  number of the operation on a file, from 1, before which the process kills itself
    """

    number: int = signal.SIGKILL
    after: float | None = None
    operation: int | None = None

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        return (
            f"{name} after {self.after:.3f} s"
            if self.after is not None
            else f"{name} at operation {self.operation}"
        )


@dataclass(frozen=True)
class Ended:
    """Says how a fork ended: exit code, or minus the signal; its output; operations on files and seconds."""

    code: int
    output: str
    operations: int
    seconds: float


def run(folder: Path, arguments: Sequence[str], kill: Kill | None = None, limit: float = 120.0) -> Ended:
    """Call the command line in `folder`, in a fork."""
    folder.mkdir(parents=True, exist_ok=True)
    output, notes = (folder.with_name(f"{folder.name}.{name}") for name in (OUTPUT, NOTES))
    output.touch()  # here, as the child may be killed before it can
    begun, begins = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(begun)
        _child(folder, arguments, kill, output, notes, begins)
    os.close(begins)
    os.read(begun, 1)  # moments count from where the command line begins
    os.close(begun)
    started = time.perf_counter()
    if kill is not None and kill.after is not None:
        time.sleep(kill.after)
        with suppress(ProcessLookupError):
            os.kill(child, kill.number)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.perf_counter() - started > limit:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Ended(-999, output.read_text(errors="replace") + "\nhangs", 0, limit)
        time.sleep(0.005)
    operations = int(
        (notes.read_text() if notes.exists() else "") or 0
    )  # a kill may come while it is written
    notes.unlink(missing_ok=True)
    text = output.read_text(errors="replace")
    output.unlink()
    return Ended(os.waitstatus_to_exitcode(status), text, operations, time.perf_counter() - started)


def _child(
    folder: Path, arguments: Sequence[str], kill: Kill | None, output: Path, notes: Path, begins: int
) -> None:
    code = 99
    try:
        os.chdir(folder)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(file, stream)
        from lit_mlfund.cli import main

        counter = _Counter(folder, kill.operation if kill else None)
        sys.addaudithook(counter)
        os.write(begins, b"!")
        os.close(begins)
        code = main(list(arguments))
        counter.folder = "\0"
        notes.write_text(str(counter.count))
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for text in (sys.stdout, sys.stderr):
            text.flush()
        os._exit(code)


class _Counter:
    """Counts the operations that change files below a folder; kills its process before one of them."""

    def __init__(self, folder: Path, last: int | None):
        self.folder, self.last, self.count = str(folder), last, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & _WRITING:
                return
        elif not event.startswith(_CHANGES):
            return
        path = arguments[0]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, (str, os.PathLike)) or not os.path.abspath(path).startswith(self.folder):
            return
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def import_everything(folder: Path, arguments: Sequence[str]) -> None:
    """Import in this process whatever a run imports, so that its forks do not."""
    import lit_mlfund.cli.train
    import lit_mlfund.runs.execution.execute  # noqa: F401

    names = folder / "modules.txt"
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            devnull = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(devnull, stream)
            from lit_mlfund.cli import main

            main(list(arguments))
            names.write_text("\n".join(sys.modules))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    for name in names.read_text().splitlines():
        if name not in sys.modules and "__main__" not in name:
            with suppress(Exception):
                importlib.import_module(name)
