"""Tells how much memory is left, and what does not fit into it, in one message instead of a traceback or a kill."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ALLOCATION = re.compile(r"can't allocate memory|out of memory|Cannot allocate memory", re.IGNORECASE)
_ASKED = re.compile(r"(?:tried to allocate|Unable to allocate) ([\d.]+ ?(?:bytes|[KMGTPE]iB))", re.IGNORECASE)


class OutOfMemory(MemoryError):
    """Reports what does not fit into memory, and the options that make it smaller."""


@contextmanager
def fitting(what: str) -> Iterator[None]:
    """Turn a refused allocation into an `OutOfMemory` that says what did not fit: `what`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, OutOfMemory) or not is_refused_allocation(error):
            raise
        asked = _ASKED.search(str(error))
        size = f", {asked[1]} at once" if asked else ""
        raise OutOfMemory(f"out of memory: {what}{size}; {as_size(free_bytes())} are free") from error


def is_refused_allocation(error: BaseException) -> bool:
    """Return whether Python, numpy or torch was refused memory."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _ALLOCATION.search(str(error)) is not None
    )


def free_bytes() -> int:
    """Return the bytes that this process can still have: of the machine, of its container, of `ulimit -v`."""
    return max(0, min(_of_machine(), _of_container(), _of_limit()))


def as_size(num_bytes: float) -> str:
    """Format a number of bytes as `5.2 GB`."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} bytes" if unit == "bytes" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} PB"


_UNKNOWN = 2**62


def _of_machine() -> int:
    kilobytes = _fields("/proc/meminfo")
    if "MemAvailable" not in kilobytes:
        return _UNKNOWN
    return 1024 * (kilobytes["MemAvailable"] + kilobytes.get("SwapFree", 0))


def _of_container() -> int:
    folder = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        limit = int((folder / "memory.max").read_text())  # `max` where there is none
        return limit - int((folder / "memory.current").read_text()) + _reclaimable(folder)
    return _UNKNOWN


def _reclaimable(folder: Path) -> int:
    lines = (folder / "memory.stat").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _of_limit() -> int:
    with suppress(ImportError, OSError, KeyError):
        import resource  # of Unix alone

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            return limit - 1024 * _fields("/proc/self/status")["VmSize"]
    return _UNKNOWN


def _fields(path: str) -> dict[str, int]:
    """Return the numbers of a file with lines `Name:  number kB`; none where there is no such file."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found = (re.match(r"(\w+):\s+(\d+) kB", line) for line in lines)
    return {match[1]: int(match[2]) for match in found if match}
