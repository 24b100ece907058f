"""`mlfund list`: what there is to choose from."""

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
    "sweeps": "sweep",
    "experiments": "experiment",
    "debugs": "debug",
}
TASKS = ("binary", "multiclass", "regression", "ranking", "retrieval")


def run(arguments: list[str]) -> int:
    """Print the options of one kind, or of all, or what the state of optimizers takes; the exit code."""
    given = parse([argument for argument in arguments if argument != MEMORY])
    known = catalog(given.config_dir)
    names = KINDS | {group: group for group in known.groups}
    wrong = [kind for kind in given.overrides if kind not in names]
    if wrong:
        raise ConfigError(f"{kind}: no such kind; {suggestion(kind, KINDS)}" for kind in wrong)
    if MEMORY in arguments:
        if [names[kind] for kind in given.overrides] != ["optim"]:
            raise ConfigError(f"{MEMORY} is of optimizers: mlfund list optims {MEMORY}")
        from lit_mlfund.runs.assembly.optimizer_memory import memory_table  # imports torch

        print(memory_table(known))
        return 0
    print(listing(known, [names[kind] for kind in given.overrides]))
    return 0


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
