"""`mlfund list`: what there is to choose from."""

from __future__ import annotations

from lit_mlfund.cli.train import parse
from lit_mlfund.config.errors import ConfigError, suggestion
from lit_mlfund.cli.options_table import KINDS, listing
from lit_mlfund.config.catalog import catalog

MEMORY = "--memory"


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
