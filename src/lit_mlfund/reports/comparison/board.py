"""Ranks runs by one value, and tells which settings they differ in."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lit_mlfund.run_folders.groups import key_of
from lit_mlfund.run_folders.record import Record
from lit_mlfund.run_folders.search import stamp_of

_WHERE = ("name", "runs_dir", "hydra.sweep.dir")


@dataclass(frozen=True)
class Board:
    """Holds runs, the best first, and the value by which they are ranked.

    column  `objective`, its name or `test/<metric>`
    mode    `max` or `min`: which values are better
    """

    records: Sequence[Record]
    column: str
    mode: str

    @cached_property
    def settings(self) -> list[dict[str, str]]:
        """Return what each run was given, by key."""
        return [
            {key_of(line): line.partition("=")[2] for line in record.given if key_of(line) not in _WHERE}
            for record in self.records
        ]

    @cached_property
    def varied(self) -> list[str]:
        """Return the keys that not all runs were given the same value of."""
        keys = dict.fromkeys(key for one in self.settings for key in one)
        return [key for key in keys if len({one.get(key) for one in self.settings}) > 1]

    @cached_property
    def values(self) -> list[float | None]:
        """Return the value of each run."""
        return [record.value(self.column) for record in self.records]

    @cached_property
    def metrics(self) -> list[str]:
        """Return the metrics of the test split that any run has."""
        return list(dict.fromkeys(metric for record in self.records for metric in record.test))

    def axis(self, key: str) -> Axis:
        """Return where the runs stand in one setting."""
        return Axis.of([one.get(key) for one in self.settings])


@dataclass(frozen=True)
class Axis:
    """Places runs by one setting: numbers by their value or its logarithm, words side by side.

    places  of each run, from 0 to 1; None where it was not given
    ticks   places with their text
    """

    places: list[float | None]
    ticks: list[tuple[float, str]]

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> Axis:
        """Place texts; they are numbers if all of them are finite ones."""
        given = list(dict.fromkeys(text for text in texts if text is not None))
        numbers = {text: number for text in given if (number := _number(text)) is not None}
        if len(numbers) < len(given) or len(set(numbers.values())) < 2:
            step = 1 / max(len(given) - 1, 1)
            place = {
                text: number * step if len(given) > 1 else 0.5 for number, text in enumerate(sorted(given))
            }
        else:
            low, high = min(numbers.values()), max(numbers.values())
            if low > 0 and high / low >= 20:
                numbers = {text: math.log(number) for text, number in numbers.items()}
                low, high = math.log(low), math.log(high)
            place = {text: (number - low) / (high - low) for text, number in numbers.items()}
        ticks = sorted((at, text) for text, at in place.items())
        return cls([None if text is None else place[text] for text in texts], _apart(ticks))


def board_csv(board: Board) -> str:
    """Return the runs as CSV: one row a run, one column for each setting that differs and each metric."""
    header = ["rank", "run", "task", "status", "started", *board.varied, "objective", "objective_value"]
    header += [f"test/{metric}{end}" for metric in board.metrics for end in ("", "/low", "/high")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*header, "seconds", "findings"])
    for rank, (record, settings) in enumerate(zip(board.records, board.settings), start=1):
        told = [rank, record.folder, record.task, record.status, stamp_of(record.folder)]
        told += [settings.get(key, "") for key in board.varied]
        told += [record.objective[0], record.objective[1]]
        for metric in board.metrics:
            entry = record.test.get(metric, {})
            told += [entry.get(end) for end in ("value", "low", "high")]
        writer.writerow([*told, record.seconds, " ".join(record.findings)])
    return text.getvalue()


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _apart(ticks: list[tuple[float, str]], least: float = 0.2) -> list[tuple[float, str]]:
    """Return the ticks that can be read beside each other, the first and the last among them."""
    kept = ticks[:1]
    for at, text in ticks[1:-1]:
        if at - kept[-1][0] >= least and ticks[-1][0] - at >= least:
            kept.append((at, text))
    return kept + ticks[-1:] if len(ticks) > 1 else kept
