"""Formats the runs of a sweep as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lit_mlfund.reports.tables import number
from lit_mlfund.reports.terminal import table_text
from lit_mlfund.startup.screen import short_value

MAX_ROWS = 30


def sweep_text(results: Sequence[dict[str, Any]], mode: str = "min") -> str:
    """Format one row per job: the overrides that not all of them share, the best monitored value, the folder.

    The best jobs come first, those without a value last; rows beyond `MAX_ROWS` are left out.

    Args:
        results: results of the jobs, as in `jobs/N.json`.
        mode: `max` or `min`: which values of the objective are better.
    """
    keys, overrides = varied([job.get("overrides", []) for job in results])
    objectives = [job.get("objective") or {} for job in results]
    name = next((objective["name"] for objective in objectives if objective.get("name")), "objective")

    def rank(index: int) -> tuple[bool, float]:
        value = objectives[index].get("value")
        if value is None or math.isnan(value):
            return True, 0.0
        return False, -value if mode == "max" else value

    order = sorted(range(len(results)), key=rank)
    header = ["run", *keys, name, "seconds"]
    rows = [
        [
            _run_label(results[index]),
            *(short_value(overrides[index].get(key, "")) for key in keys),
            number(objectives[index].get("value")),
            number(results[index].get("seconds")),
        ]
        for index in order[:MAX_ROWS]
    ]
    text = table_text(header, rows, rest="with --json")
    return text + (f"\n… and {len(order) - MAX_ROWS} more" if len(order) > MAX_ROWS else "")


def varied(lines: Sequence[Sequence[str]]) -> tuple[list[str], list[dict[str, str]]]:
    """Return the keys of overrides that not all jobs share, and the values of each job by key."""
    overrides = [dict(line.lstrip("+").partition("=")[::2] for line in job) for job in lines]
    keys = dict.fromkeys(key for settings in overrides for key in settings if not key.startswith("sweep."))
    return [key for key in keys if _differs(key, overrides)], overrides


def _differs(key: str, overrides: list[dict[str, str]]) -> bool:
    return len({settings.get(key) for settings in overrides}) > 1


def _run_label(job: dict[str, Any]) -> str:
    """Return the name of the run's folder, or the job's number, followed by its status unless it is done."""
    name = str(job["run"]).rpartition("/")[2] if job.get("run") else f"job {job['job']}"
    return name if job["status"] == "done" else f"{name} {job['status']}"
