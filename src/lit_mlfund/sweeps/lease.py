"""Leases a job to one process at a time, among all processes and machines that see the folder of a sweep.

A lease is a file `NAME.G`, made as a whole or not at all, and only if it is not there: of several processes one
succeeds. It is never removed. Whoever takes over what a dead process held makes generation G + 1, which again only one
can; the highest generation is the valid one. Its holder touches it while it works. A process of the same machine is
known to be dead, one of another machine is taken for dead when it has not touched its file for `STALE` seconds, by the
clock of the file system.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import write_json

HEARTBEAT, STALE = 15.0, 150.0  # seconds


@dataclass(frozen=True)
class Holder:
    """Identifies a process among those of all machines.

    space  where process numbers mean the same: a boot of a machine, a container on it
    start  when the process was started, as numbers are used again
    """

    host: str
    pid: int
    space: str
    start: str

    @classmethod
    def here(cls) -> Holder:
        """Describe this process."""
        return cls(socket.gethostname(), os.getpid(), _space(), _start(os.getpid()))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def is_near(self) -> bool:
        """Return whether this process can see that one."""
        return self.space == _space()

    def is_running(self) -> bool:
        """Return whether the process is there, on a machine that this one can see."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _start(self.pid) == self.start


def _space() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux
        return socket.gethostname()


def _start(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]  # a zombie has ended


@dataclass(eq=False)
class Lease:
    """Holds what a name stands for until it is released."""

    file: Path
    lost: bool = False

    def release(self) -> None:
        """Let others have it; the file stays, so that generations only grow."""
        _held.discard(self)
        with suppress(OSError):
            write_json(self.file, {"released": True})

    def beat(self) -> None:
        """Say that the holder is alive; one that was taken for dead in spite of that has to stop."""
        with suppress(OSError):
            os.utime(self.file)
        if not self.lost and _file(self.file.parent, self.file.stem, _generation(self.file) + 1).exists():
            self.lost = True
            os.kill(os.getpid(), signal.SIGTERM)


def acquire(folder: Path, name: str) -> Lease | None:
    """Take the lease `name` in a folder; None where a living process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    last = _last(folder, name)
    if last and _is_alive(_file(folder, name, last)):
        return None
    file = _file(folder, name, last + 1)
    if not create(file, asdict(Holder.here())):
        return None
    lease = Lease(file)
    _hold(lease)
    return lease


def holder(folder: Path, name: str) -> Holder | None:
    """Return the living process that has a lease; None where it is free."""
    last = _last(folder, name)
    file = _file(folder, name, last)
    return _read(file) if last and _is_alive(file) else None


def create(file: Path, value: Any) -> bool:
    """Write a JSON file that is not there yet, whole or not at all; return False where it is there."""
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        write_json(beside, value)
        try:
            os.link(beside, file)
        except FileExistsError:
            return beside.stat().st_nlink > 1  # a network may have lost the answer to a first attempt
        except OSError:  # a file system without hard links
            try:
                with open(file, "x") as stream:
                    stream.write(json.dumps(value))
            except FileExistsError:
                return False
        return True
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _file(folder: Path, name: str, generation: int) -> Path:
    return folder / f"{name}.{generation}"


def _generation(file: Path) -> int:
    return int(file.suffix.removeprefix("."))


def _last(folder: Path, name: str) -> int:
    generation = 0
    while _file(folder, name, generation + 1).exists():
        generation += 1
    return generation


def _read(file: Path) -> Holder | None:
    """Return the process that made a lease; None where it was released or cannot be read."""
    try:
        return Holder(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _is_alive(file: Path) -> bool:
    found = _read(file)
    if found is None:
        return False
    if found.is_near():
        return found.is_running()
    return now(file.parent) - file.stat().st_mtime < STALE


def now(folder: Path) -> float:
    """Return the time by the clock of the file system, which all machines share."""
    probe = folder / f".now.{secrets.token_hex(4)}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


_held: set[Lease] = set()  # of this process
_beating: threading.Thread | None = None


def _hold(lease: Lease) -> None:
    global _beating
    _held.add(lease)
    if _beating is None or not _beating.is_alive():  # none, or this process is a fork of the one that had it
        _beating = threading.Thread(target=_beat, name="leases of a sweep", daemon=True)
        _beating.start()


def _beat() -> None:
    pause = threading.Event()
    while not pause.wait(HEARTBEAT):
        for lease in list(_held):
            lease.beat()
