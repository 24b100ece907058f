"""Reads from the system how another process is: at work, stopped, or gone."""

from __future__ import annotations

from pathlib import Path


def is_stopped(process: int) -> bool:
    """Return whether a process was stopped (SIGSTOP, a debugger); False where the system does not tell."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (OSError, ValueError):
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")
