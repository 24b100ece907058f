"""Implements `mlfund list`, which prints the options to choose from."""

from __future__ import annotations

from collections.abc import Sequence

from lit_mlfund.cli.train import parse
from lit_mlfund.config.catalog import Catalog, catalog
from lit_mlfund.config.errors import ConfigError, suggestion
from lit_mlfund.config.options import options

MEMORY = "--memory"
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
    "doctors": "doctor",
    "sweeps": "sweep",
    "plans": "plan",
    "decompositions": "decompose",
    "experiments": "experiment",
    "debugs": "debug",
}
TASKS = ("binary", "multiclass", "regression", "ranking", "retrieval")


def run(arguments: list[str]) -> int:
    """Print the options of one kind or of all, or the memory of optimizer state; return the exit code."""
    parsed = parse([argument for argument in arguments if argument != MEMORY])
    known = catalog(parsed.config_dir)
    names = KINDS | {group: group for group in known.groups}
    wrong = [kind for kind in parsed.overrides if kind not in names]
    if wrong:
        raise ConfigError(f"{kind}: no such kind; {suggestion(kind, KINDS)}" for kind in wrong)
    if MEMORY in arguments:
        if [names[kind] for kind in parsed.overrides] != ["optim"]:
            raise ConfigError(f"{MEMORY} is for optimizers only: mlfund list optims {MEMORY}")
        from lit_mlfund.runs.assembly.optimizer_memory import memory_table  # imports torch

        print(memory_table(known))
        return 0
    print(listing(known, [names[kind] for kind in parsed.overrides]))
    return 0


def listing(catalog: Catalog, groups: Sequence[str] = ()) -> str:
    """Format one line (name, tasks, comment) for each option of `groups`, by default of all that have any."""
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
