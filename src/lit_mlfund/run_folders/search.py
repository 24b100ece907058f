"""Finds the run folders below a folder, the newest first, without opening any file."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN_FILE = "run.yaml"
SWEEPS = "sweeps"
_DEEPEST = 4  # levels of folders above a run, as in RUNS_DIR/sweeps/SWEEP/RUN
_OURS = ("jobs", "leases", "lr_find")  # hold no runs, and are not foreign
_SWEEP_FILES = ("jobs", "multirun.yaml", "sweep.json")
_STAMP = re.compile(r"\d{8}-\d{6}(?=-)")


@dataclass(frozen=True)
class Search:
    """Holds what lies below a folder: run folders, the newest first, and those that are none or half made."""

    runs: list[Path]
    others: list[Path]


def find_runs(root: Path) -> Search:
    """Return the run folders in `root` and below; the newest first, by the time in their names."""
    found: list[tuple[str, int, Path]] = []
    others: list[Path] = []
    _walk(root, 0, found, others)
    return Search([folder for _, _, folder in sorted(found, reverse=True)], sorted(others))


def _walk(folder: Path, depth: int, found: list[tuple[str, int, Path]], others: list[Path]) -> None:
    for child in _folders(folder):
        if (written := _written(child)) is not None:
            found.append((_stamp(child, written), written, child))
        elif child.name in _OURS:
            continue
        elif depth + 1 == _DEEPEST:
            others.append(child)
        else:
            runs, inner = len(found), len(others)
            _walk(child, depth + 1, found, others)
            if len(found) == runs:  # nothing of it is a run: one foreign folder, whatever it holds
                del others[inner:]
                if not is_sweep(child) and not (depth == 0 and child.name == SWEEPS):
                    others.append(child)


def name_of(folder: Path) -> str:
    """Return the name of a run: that of its folder, behind that of its sweep where the sweep holds it."""
    is_inside = folder.parent.parent.name == SWEEPS
    return f"{folder.parent.name}/{folder.name}" if is_inside else folder.name


def find_sweeps(root: Path) -> list[Path]:
    """Return the folders of sweeps below `root`, the newest first."""
    return sorted(filter(is_sweep, _folders(root / SWEEPS)), key=lambda folder: folder.name, reverse=True)


def is_sweep(folder: Path) -> bool:
    """Return whether a folder holds the files of a whole sweep."""
    return any((folder / name).exists() for name in _SWEEP_FILES)


def _folders(folder: Path) -> Iterator[Path]:
    """Yield the folders in a folder that are not hidden, as those are that are still being made."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return
    yield from (folder / name for name in names)


def _written(folder: Path) -> int | None:
    """Return when the configuration of a run was written, in nanoseconds; None where there is none in it."""
    try:
        stat = os.stat(f"{folder}/{RUN_FILE}")
    except OSError:
        return None
    return stat.st_mtime_ns if stat.st_size else None


def stamp_of(folder: Path) -> str:
    """Return the time that the name of a run, or of its sweep, begins with; empty where neither does."""
    match = _STAMP.match(folder.name) or _STAMP.match(folder.parent.name)
    return match[0] if match else ""


def _stamp(folder: Path, written: int) -> str:
    """Return when a run was started, by its name, or else when it was written."""
    if stamp := stamp_of(folder):
        return stamp
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(written / 1e9))
