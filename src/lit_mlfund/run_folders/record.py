"""Reads what a run folder says of itself, from as few files as that takes."""

from __future__ import annotations

import json
import math
import re
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from lit_mlfund.run_folders.locks import LOCK_FILE, is_locked
from lit_mlfund.run_folders.search import RUN_FILE, name_of

RUNNING, UNFINISHED = "running", "unfinished"  # beside the status in `result.json`
JOB = "# job: "  # comment of `run.yaml` with the overrides of one job of a sweep
SHAPES = ("binary", "multiclass", "regression", "ranking", "retrieval")
_ENDED = ("done", "failed")
_FLAGS = {"-m": 0, "--multirun": 0, "--cfg": 0, "-c": 0, "--config-dir": 1, "-cd": 1, "--trust": 1}
_SHAPE = re.compile(r"^shape: (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Record:
    """Holds what a run was given and how it ended.

    folder     the run folder
    status     as in `result.json`; `running` while a process has the folder locked, `unfinished` without a result
    objective  the monitored value: its name, and the best one or None
    test       metric -> value, low, high
    seconds    wall-clock time, None without a result
    findings   names of the findings
    """

    folder: Path
    status: str
    objective: tuple[str, float | None] = ("", None)
    test: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: float | None = None
    findings: tuple[str, ...] = ()

    @cached_property
    def given(self) -> tuple[str, ...]:
        """Return the overrides that the run was started with; those of its own job where it is one of a sweep."""
        comments = _comments(self.folder / RUN_FILE)
        for line in comments[1:]:
            if line.startswith(JOB):
                return tuple(_words(line.removeprefix(JOB)))
        return tuple(overrides(_words(comments[0][1:]))) if comments else ()

    @cached_property
    def task(self) -> str:
        """Return the name of the task: that of the folder around the run, of its records, or of its shape."""
        if self.folder.parent.name in SHAPES:
            return self.folder.parent.name
        told = read(self.folder / "provenance.json").get("task")
        if isinstance(told, str):
            return told
        try:
            match = _SHAPE.search((self.folder / RUN_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            match = None
        return match[1] if match else self.folder.parent.name

    @property
    def name(self) -> str:
        """Return the name of the folder, behind that of its sweep where the sweep holds it."""
        return name_of(self.folder)

    def value(self, column: str) -> float | None:
        """Return `seconds`, the objective (`objective` or its name) or `test/<metric>`; None where it has none."""
        name, objective = self.objective
        if column == "seconds":
            return self.seconds
        if column in ("objective", name):
            return objective
        return number_of(self.test.get(column.removeprefix("test/"), {}).get("value"))


def read_record(folder: Path, locked: frozenset[int] = frozenset()) -> Record | None:
    """Return the record of a run folder; None where its `result.json` is damaged or of something else.

    Args:
        folder: a run folder.
        locked: the files that are locked, as `locked_files` returns them.
    """
    try:
        text = (folder / "result.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return Record(folder, RUNNING if is_locked(folder / LOCK_FILE, locked) else UNFINISHED)
    except (OSError, ValueError):
        return None
    try:
        result = json.loads(text)
        objective = result["objective"]
        status = str(result["status"])
        if status not in _ENDED and is_locked(folder / LOCK_FILE, locked):
            status = RUNNING
        return Record(
            folder,
            status,
            (str(objective["name"]), number_of(objective["value"])),
            {str(name): _numbers(entry) for name, entry in result["test"].items()},
            number_of(result.get("seconds")),
            tuple(map(str, result["findings"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _numbers(entry: dict[str, Any]) -> dict[str, float]:
    """Return value, low and high of a metric, as far as they are numbers."""
    told = {key: number_of(entry.get(key)) for key in ("value", "low", "high")}
    return {key: value for key, value in told.items() if value is not None}


def read(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file; an empty one where there is none, or it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def overrides(command: list[str]) -> list[str]:
    """Return the overrides among the words of a command line such as `mlfund train -m task=binary`."""
    rest, words = [], iter(command[2:])
    for word in words:
        if word in _FLAGS:
            for _ in range(_FLAGS[word]):
                next(words, None)
        elif not word.startswith("-"):
            rest.append(word)
    return rest


def number_of(value: Any) -> float | None:
    """Return a finite number as it is, anything else as None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def _comments(file: Path) -> list[str]:
    """Return the lines that a file begins with and that are comments; none where it cannot be read."""
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            return [line.rstrip("\n") for line in takewhile(lambda line: line.startswith("#"), lines)]
    except OSError:
        return []


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
