"""What there is to choose from, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from lit_mlfund.config.options import options
from lit_mlfund.config.catalog import Catalog

KINDS = {
    "tasks": "task",
    "losses": "loss",
    "models": "model",
    "embeddings": "embedding",
    "data": "data",
    "optims": "optim",
    "schedules": "schedule",
    "regularizations": "regularization",
    "trainers": "trainer",
    "callbacks": "callbacks",
    "loggers": "logger",
    "sweeps": "sweep",
    "experiments": "experiment",
    "debugs": "debug",
}
TASKS = ("binary", "multiclass", "regression", "ranking", "retrieval")


def listing(catalog: Catalog, groups: Sequence[str] = ()) -> str:
    """One line for each option of `groups` (all that have any, unless told): name, tasks, comment."""
    chosen = list(groups) or [*KINDS.values(), *sorted(catalog.foreign_groups - set(KINDS.values()))]
    blocks = [_block(catalog, group, heading=len(chosen) > 1) for group in chosen]
    return "\n\n".join(filter(None, blocks))


def _block(catalog: Catalog, group: str, heading: bool) -> str:
    rows = [
        (
            option.name,
            "all tasks" if set(TASKS) <= set(option.tasks) else " ".join(option.tasks),
            option.comment,
        )
        for option in options(catalog, group)
    ]
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{group}="] if heading else []
    for name, tasks, comment in rows:
        cells = [name.ljust(widths[0]), *([tasks.ljust(widths[1])] if widths[1] else []), comment]
        lines.append(("  " if heading else "") + "  ".join(cells).rstrip())
    return "\n".join(lines)
