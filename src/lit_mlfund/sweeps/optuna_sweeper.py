"""Adapts sweeps to Optuna's sweeper: the direction of the search, and the value of a failed job."""

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
    """Check whether `hydra/sweeper=optuna` proposes the combinations; `hydra` is Hydra's part of a configuration."""
    return str(hydra.sweeper._target_).endswith(".OptunaSweeper")


def missing_value(hydra: Any) -> float | None:
    """Return what a sweeper receives for a job without a value.

    This is NaN, as no number can stand for it; but Optuna's sweeper (1.3.0) ends with a traceback on NaN, and treats
    what cannot be converted to a number as a failed trial.
    """
    return None if is_optuna(hydra) else math.nan


def settings(composed: Composed, typed: Collection[str]) -> Iterator[str]:
    """Yield the overrides that make the sweeper search in the direction that is better for `monitor`."""
    if is_optuna(composed.hydra) and DIRECTION not in typed:
        yield f"{DIRECTION}={WORDS[direction(composed.config)]}"


def problems(composed: Composed, typed: Collection[str], monitored: Collection[str]) -> Iterator[str]:
    """Yield the reasons why a sweeper cannot search, one line each.

    Args:
        composed: the first combination.
        typed: keys of the command line.
        monitored: the monitored values of the combinations.
    """
    if len(set(monitored)) > 1:
        yield f"monitor: a sweeper compares one value, not {', '.join(dict.fromkeys(monitored))}"
    if not is_optuna(composed.hydra):
        return
    configured = composed.hydra.sweeper.direction
    directions = configured if isinstance(configured, ListConfig) else [configured]
    words = [_word(value) for value in directions]
    monitor, better = composed.config["monitor"], WORDS[direction(composed.config)]
    if len(words) > 1:
        yield f"{DIRECTION}: a job returns one value, {monitor}; got {', '.join(words)}"
    elif DIRECTION in typed and words != [better]:
        yield f"{DIRECTION}: the best {monitor} is found by {better}, got {words[0]}; leave it out"


def _word(value: Any) -> str:
    return str(getattr(value, "name", value))
