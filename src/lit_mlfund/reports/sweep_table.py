"""The runs of a sweep as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lit_mlfund.reports.terminal import format_table, number

MAX_ROWS = 30


def sweep_text(results: Sequence[dict[str, Any]], mode: str = "min") -> str:
    """One row for each job: the overrides that not all of them have, the best monitored value, the folder.

    The best come first, those without a value last; of more than `MAX_ROWS` the rest is left out.

    Args:
        results: of the jobs, as in `jobs/N.json`.
        mode: `max` or `min`: which values of the objective are good.
    """
    given = [
        dict(line.lstrip("+").partition("=")[::2] for line in job.get("overrides", [])) for job in results
    ]
    keys = [key for key in dict.fromkeys(key for one in given for key in one) if _differs(key, given)]
    objectives = [job.get("objective") or {} for job in results]
    name = next((one["name"] for one in objectives if one.get("name")), "objective")

    def rank(place: int) -> tuple[bool, float]:
        value = objectives[place].get("value")
        if value is None or math.isnan(value):
            return True, 0.0
        return False, -value if mode == "max" else value

    order = sorted(range(len(results)), key=rank)
    header = ["run", *keys, name, "seconds"]
    rows = [
        [
            _ended(results[place]),
            *(given[place].get(key, "") for key in keys),
            number(objectives[place].get("value")),
            number(results[place].get("seconds")),
        ]
        for place in order[:MAX_ROWS]
    ]
    text = format_table(header, rows)
    return text + (f"\n… and {len(order) - MAX_ROWS} more" if len(order) > MAX_ROWS else "")


def _differs(key: str, given: list[dict[str, str]]) -> bool:
    return len({one.get(key) for one in given}) > 1


def _ended(job: dict[str, Any]) -> str:
    """The name of the run's folder, or how it failed."""
    where = str(job["run"]).rpartition("/")[2] if job.get("run") else f"job {job['job']}"
    return where if job["status"] == "done" else f"{where} {job['status']}"
