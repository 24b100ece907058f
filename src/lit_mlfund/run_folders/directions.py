"""Tells which values of a metric are better, from what the task shapes declare."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from lit_mlfund.config.signatures import describe
from lit_mlfund.run_folders.record import Record, read

_MODULES = ("Binary", "Multiclass", "Regression", "Ranking", "Retrieval", "NextToken")


def direction(name: str, records: Iterable[Record] = ()) -> str:
    """Return `max` where a value such as `test/auroc` should be high, `min` where it should be low or is unknown.

    The metrics of a task of another package are looked up in the runs that monitored them.
    """
    if known := known_direction(name):
        return known
    metric = name.rpartition("/")[2]
    for record in records:
        if record.objective[0].rpartition("/")[2] == metric:
            objective = read(record.folder / "metrics.json").get("objective")
            if isinstance(objective, dict) and objective.get("mode") in ("min", "max"):
                return str(objective["mode"])
    return "min"


def known_direction(name: str) -> str | None:
    """Return `max` or `min` for a metric of our task shapes and for losses, else None."""
    metric = name.rpartition("/")[2]
    return "min" if metric == "loss" else _known().get(metric)


@cache
def _known() -> dict[str, str]:
    known: dict[str, str] = {}
    for name in _MODULES:
        known |= describe(f"lit_mlfund.modules.{name}Module").attributes.get("metrics", {})
    return known
