"""Says in one line for each job of a sweep what it was given, what came out and how long the others may take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from lit_mlfund.startup.screen import duration, short_value


@dataclass
class JobLines:
    """Writes the lines of a sweep.

    shared  keys of overrides that all jobs have, which are left out
    total   number of jobs, if it is known
    """

    shared: frozenset[str]
    total: int | None = None
    _ended: int = 0
    _seconds: list[float] = field(default_factory=list)

    def start(self, number: int, overrides: Sequence[str]) -> str:
        """Return the line of a job that begins: its number, its place among all, what it is given, the time left."""
        return _joined(*self._place(number, overrides, self._ended + 1), self._left(), "…")

    def end(self, number: int, result: dict[str, Any], *, is_new: bool) -> str:
        """Return the line of a job that has ended; `is_new` where it ran just now, rather than before."""
        self._ended += 1
        seconds = result.get("seconds")
        if is_new and seconds is not None:
            self._seconds.append(float(seconds))
        return _joined(
            *self._place(number, result.get("overrides", []), self._ended),
            _outcome(result),
            duration(seconds) if seconds is not None else "",
            self._left() if is_new else "done before",
        )

    def _place(self, number: int, overrides: Sequence[str], count: int) -> tuple[str, str, str]:
        settings = (line.lstrip("+").partition("=") for line in overrides)
        given = " ".join(
            f"{key}={short_value(value)}" for key, _, value in settings if key not in self.shared
        )
        return f"job {number}", f"{count} of {self.total}" if self.total else "", given

    def _left(self) -> str:
        left = (self.total or 0) - self._ended
        return f"{duration(fmean(self._seconds) * left)} left" if self._seconds and left > 0 else ""


def _outcome(result: dict[str, Any]) -> str:
    """Return the best monitored value, and how the job ended unless it is done."""
    objective = result.get("objective") or {}
    value = objective.get("value")
    reached = "" if value is None or math.isnan(value) else f"{objective['name']} {value:.4g}"
    ended = "" if result["status"] == "done" else str(result["status"])
    if result["status"] == "failed" and result.get("reason"):
        ended += f": {str(result['reason']).splitlines()[0]}"
    return _joined(reached, ended)


def _joined(*parts: str) -> str:
    return " · ".join(filter(None, parts))
