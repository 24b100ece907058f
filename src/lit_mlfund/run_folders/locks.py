"""Tells whether a process is at work in a run folder, without taking the lock from it."""

from __future__ import annotations

import os
from pathlib import Path

LOCK_FILE = ".lock"  # in a run folder; whoever is at work there holds its lock
_TABLE = Path("/proc/locks")  # `1: FLOCK  ADVISORY  WRITE 4242 fd:01:1234567 0 EOF`; Linux only


def locked_files() -> frozenset[int]:
    """Return the inodes of the files that a process of this machine has locked; none where the system does not tell.

    Their devices are left out: overlaid file systems give others than `stat` does.
    """
    try:
        lines = [line.split() for line in _TABLE.read_text().splitlines()]
    except OSError:
        return frozenset()
    inodes = (line[-3].rpartition(":")[2] for line in lines if len(line) >= 8 and "FLOCK" in line)
    return frozenset(int(inode) for inode in inodes if inode.isdigit())


def is_locked(file: Path, locked: frozenset[int]) -> bool:
    """Return whether `file` is among the locked ones."""
    if not locked:
        return False
    try:
        return os.stat(file).st_ino in locked
    except OSError:
        return False
