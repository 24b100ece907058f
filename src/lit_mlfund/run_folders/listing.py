"""Chooses and sorts the runs of a folder, reading only the files that the choice needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lit_mlfund.config.errors import ConfigError, suggestion
from lit_mlfund.run_folders.directions import direction
from lit_mlfund.run_folders.locks import locked_files
from lit_mlfund.run_folders.record import Record, read_record
from lit_mlfund.run_folders.search import find_runs

TIME = "time"  # the default order: the newest first


@dataclass(frozen=True)
class Listing:
    """Holds the chosen runs of a folder.

    root     the folder
    records  the chosen runs, in their order
    total    number of the run folders in it
    skipped  folders that are no runs, half made or damaged, as far as they were looked at
    """

    root: Path
    records: list[Record]
    total: int
    skipped: list[Path]


def list_runs(
    root: Path, task: str | None = None, sort: str = TIME, last: int | None = None, every: bool = False
) -> Listing:
    """Read the newest or the best runs below a folder.

    Args:
        root: a folder with runs.
        task: only the runs of this task.
        sort: `time` (the newest first), `seconds`, `objective`, its name or `test/<metric>` (the best first).
        last: how many; None for all.
        every: whether all runs are needed, as for means of some of them.

    Raises:
        ConfigError: there is no such folder or task, or no run has what is sorted by.
    """
    if not root.is_dir():
        raise ConfigError(f"there is no folder {root}; name the one that has the runs: mlfund runs FOLDER")
    found = find_runs(root)
    damaged: list[Path] = []
    needed = None if every or sort != TIME else last
    records = list(_read(found.runs, task, needed, damaged))
    if task is not None and not records:
        names = sorted({record.task for record in _read(found.runs, None, None, [])})
        raise ConfigError(f"task: no run in {root} is of task {task}; {suggestion(task, names)}")
    if sort != TIME:
        records = sorted_runs(records, sort)
    shown = records if every else records[:last]
    return Listing(root, shown, len(found.runs) - len(damaged), sorted([*found.others, *damaged]))


def _read(
    folders: Sequence[Path], task: str | None, needed: int | None, damaged: list[Path]
) -> Iterator[Record]:
    """Yield the records of the first `needed` runs of a task; damaged ones are added to `damaged`."""
    locked = locked_files()
    for folder in folders:
        if needed is not None and needed <= 0:
            return
        record = read_record(folder, locked)
        if record is None:
            damaged.append(folder)
        elif task is None or record.task == task:
            yield record
            needed = None if needed is None else needed - 1


def sorted_runs(records: list[Record], column: str) -> list[Record]:
    """Sort by a value, the best first and runs without it last."""
    values = {record.folder: record.value(column) for record in records}
    if records and all(value is None for value in values.values()):
        known = ["time", "seconds", "objective"]
        known += sorted({record.objective[0] for record in records if record.objective[0]})
        known += sorted({f"test/{metric}" for record in records for metric in record.test})
        raise ConfigError(f"sort: no run has {column}; {suggestion(column, known)}")
    names = sorted({record.objective[0] for record in records} - {""})
    if column == "objective" and len(names) > 1:
        raise ConfigError(
            f"sort: the objectives of these runs differ; say sort={names[0]}, … or task=…: {', '.join(names)}"
        )
    name = names[0] if column == "objective" else column
    sign = -1 if direction(name, records) == "max" else 1

    def rank(record: Record) -> tuple[bool, float]:
        value = values[record.folder]
        return (True, 0.0) if value is None else (False, sign * value)

    return sorted(records, key=rank)
