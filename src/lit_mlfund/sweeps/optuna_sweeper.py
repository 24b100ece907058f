"""What Optuna's sweeper has to be told: which way is better, and that a failed job has no value."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from omegaconf import ListConfig

from lit_mlfund.config.compatibility import direction
from lit_mlfund.config.compose import Composed

WORDS = {"max": "maximize", "min": "minimize"}
DIRECTION = "hydra.sweeper.direction"


def is_optuna(hydra: Any) -> bool:
    """Whether `hydra/sweeper=optuna` makes up the combinations; `hydra` is Hydra's own part of a configuration."""
    return str(hydra.sweeper._target_).endswith(".OptunaSweeper")


def no_value(hydra: Any) -> float | None:
    """What a sweeper is told of a job without a value.

    NaN, as no number stands for it; but Optuna's sweeper (1.3.0) ends with a traceback over NaN, and takes what cannot
    be made a number for a failed trial.
    """
    return None if is_optuna(hydra) else math.nan


def settings(composed: Composed, typed: Collection[str]) -> Iterator[str]:
    """The overrides that make the sweeper look for what `monitor` calls better."""
    if is_optuna(composed.hydra) and DIRECTION not in typed:
        yield f"{DIRECTION}={WORDS[direction(composed.config)]}"


def problems(composed: Composed, typed: Collection[str], monitored: Collection[str]) -> Iterator[str]:
    """Why a sweeper cannot search, a line for each reason.

    Args:
        composed: the first combination.
        typed: keys of the command line.
        monitored: what the combinations monitor.
    """
    if len(set(monitored)) > 1:
        yield f"monitor: a sweeper compares one value, not {', '.join(dict.fromkeys(monitored))}"
    if not is_optuna(composed.hydra):
        return
    asked = composed.hydra.sweeper.direction
    words = [_word(one) for one in (asked if isinstance(asked, ListConfig) else [asked])]
    monitor, better = composed.config["monitor"], WORDS[direction(composed.config)]
    if len(words) > 1:
        yield f"{DIRECTION}: a job tells one value, {monitor}; got {', '.join(words)}"
    elif DIRECTION in typed and words != [better]:
        yield f"{DIRECTION}: the best {monitor} is found by {better}, got {words[0]}; leave it out"


def _word(value: Any) -> str:
    return str(getattr(value, "name", value))
