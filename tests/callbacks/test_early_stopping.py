"""Patience: a share of the training under a schedule that anneals, five validations under any other."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from lit_mlfund.callbacks import EarlyStopping
from lit_mlfund.callbacks.early_stopping import planned_validations
from lit_mlfund.optim import (
    annealing,
    anneals,
    constant,
    cosine,
    inverse_sqrt,
    linear,
    one_cycle,
    reduce_on_plateau,
)


def stopped_after(stopper: EarlyStopping, schedule: Any, validations: int) -> int:
    """Return the validation that stops a training whose first validation was its best; 0 if none does."""
    module = SimpleNamespace(monitor="val/log_loss", mode="min", anneals=anneals(schedule))
    stopper.follow(module, validations)
    return next((number for number in range(1, validations + 1) if stopper.stops(1.0 + number)), 0)


@pytest.mark.parametrize(
    "patience, schedule, validations, expected",
    [
        (None, cosine, 32, 12),  # eleven without a better value: a third of 32
        (None, partial(linear, warmup_fraction=0.1), 30, 11),
        (None, one_cycle, 10, 6),  # never less than five
        (None, constant, 32, 6),
        (None, inverse_sqrt, 32, 6),
        (None, reduce_on_plateau, 32, 6),
        (None, None, 32, 6),
        (None, cosine, 0, 0),
        (2, cosine, 32, 3),  # what was given counts
        (2, constant, 32, 3),
    ],
)
def test_patience_follows_the_schedule(
    patience: int | None, schedule: Any, validations: int, expected: int
) -> None:
    assert stopped_after(EarlyStopping(patience), schedule, validations) == expected


def test_a_schedule_of_ones_own_can_be_marked() -> None:
    def halves(optimizer: Any, num_steps: int) -> None: ...

    assert not anneals(halves)
    assert anneals(annealing(halves)) and anneals(partial(halves, num_steps=3))


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"max_epochs": 32}, 32),
        ({"max_epochs": 32, "check_val_every_n_epoch": 3}, 11),
        ({"max_epochs": 4, "val_check_interval": 0.25}, 16),
        ({"max_epochs": 4, "val_check_interval": 1.0}, 4),
        ({"max_epochs": -1}, 0),
        ({"max_epochs": None}, 0),
    ],
)
def test_validations_are_counted(options: dict[str, Any], expected: int) -> None:
    trainer = SimpleNamespace(**{"val_check_interval": None, "check_val_every_n_epoch": 1, **options})
    assert planned_validations(trainer) == expected


def test_patience_is_checked() -> None:
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        EarlyStopping(0)


@pytest.mark.parametrize("patience", [0, -3])
def test_no_patience_at_all(patience: int) -> None:
    with pytest.raises(ValueError, match=f"patience must be at least 1, got {patience}"):
        EarlyStopping(patience)
    assert EarlyStopping(1).patience == 1
