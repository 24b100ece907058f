"""Tests schedules against closed forms, as functions and on an optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from lit_mlfund import optim
from lit_mlfund.optim import (
    constant_multiplier,
    cosine_multiplier,
    inverse_sqrt_multiplier,
    linear_multiplier,
    one_cycle_multiplier,
)


def rates(schedule: Callable[..., Any], num_steps: int, lr: float = 0.5, **options: float) -> list[float]:
    """Return the learning rate of each optimizer step, as a fraction of `lr`."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = schedule(optimizer, num_steps, **options)
    multipliers = []
    for _ in range(num_steps):
        multipliers.append(optimizer.param_groups[0]["lr"] / lr)
        optimizer.step()
        scheduler.step()
    return multipliers


def test_cosine_by_hand() -> None:
    multipliers = rates(optim.cosine, 104, warmup_fraction=4 / 104)
    assert multipliers[:4] == [0.25, 0.5, 0.75, 1.0]
    for step in range(4, 104):
        assert multipliers[step] == pytest.approx(0.5 * (1 + math.cos(math.pi * (step - 3) / 100)))
    assert multipliers[-1] == pytest.approx(0.0, abs=1e-12)


def test_linear_by_hand() -> None:
    multipliers = rates(optim.linear, 11, warmup_fraction=0.0, final_fraction=0.5)
    assert multipliers == pytest.approx([1 - 0.05 * step for step in range(11)])


def test_constant_and_inverse_sqrt_by_hand() -> None:
    assert rates(optim.constant, 6, warmup_fraction=0.5) == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1])
    expected = [0.5, 1.0, *(math.sqrt(2 / (step + 1)) for step in range(2, 10))]
    assert rates(optim.inverse_sqrt, 10, warmup_fraction=0.2) == pytest.approx(expected)


def test_one_cycle_by_hand() -> None:
    multipliers = rates(optim.one_cycle, 20, rise_fraction=0.25, initial_fraction=0.1, final_fraction=0.01)
    rise = [0.1 + 0.9 * 0.5 * (1 - math.cos(math.pi * step / 4)) for step in range(5)]
    fall = [0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / 15)) for step in range(1, 16)]
    assert multipliers == pytest.approx(rise + fall)


@pytest.mark.parametrize("final", [0.0, 0.1])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 10, 101, 1000])
@pytest.mark.parametrize("fraction", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("name", ["cosine", "linear", "constant", "inverse_sqrt", "one_cycle"])
def test_shape_of_every_schedule(name: str, fraction: float, num_steps: int, final: float) -> None:
    options = {"rise_fraction" if name == "one_cycle" else "warmup_fraction": fraction}
    ends = name in ("cosine", "linear", "one_cycle")
    if ends:
        options["final_fraction"] = final
    multipliers = rates(getattr(optim, name), num_steps, **options)
    peak = max(math.ceil(fraction * num_steps), 1) - 1
    assert multipliers[0] > 0
    assert multipliers[peak] == pytest.approx(1.0)
    assert all(a < b for a, b in pairwise(multipliers[: peak + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(multipliers[peak:]))
    if ends and peak < num_steps - 1:
        assert multipliers[-1] == pytest.approx(final, abs=1e-12)


def test_steps_after_the_last_stay_there() -> None:
    assert cosine_multiplier(500, 100, 3, 0.1) == pytest.approx(0.1)
    assert linear_multiplier(500, 100, 3, 0.1) == pytest.approx(0.1)
    assert one_cycle_multiplier(500, 100, 30, 0.04, 0.1) == pytest.approx(0.1)
    assert constant_multiplier(500, 3) == 1
    assert inverse_sqrt_multiplier(399, 100) == pytest.approx(0.5)


def test_warmup_is_rounded_up_but_not_by_the_last_bit_of_a_float() -> None:
    assert rates(optim.constant, 101, warmup_fraction=0.03)[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates(optim.constant, 100, warmup_fraction=0.07)[6] == 1.0  # 0.07 * 100 > 7
    assert rates(optim.constant, 100, warmup_fraction=0.07)[5] < 1.0


def test_groups_keep_their_ratio_and_a_schedule_resumes() -> None:
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [parameters[0]], "lr": 0.1}, {"params": [parameters[1]]}], lr=1.0)
    scheduler = optim.cosine(optimizer, 50)
    for _ in range(20):
        optimizer.step()
        scheduler.step()
    first, second = (group["lr"] for group in optimizer.param_groups)
    assert first == pytest.approx(0.1 * second)
    resumed = optim.cosine(torch.optim.SGD(parameters, lr=1.0), 50)
    resumed.load_state_dict({**scheduler.state_dict(), "base_lrs": [1.0]})
    resumed.step()
    assert resumed.get_last_lr() == [pytest.approx(cosine_multiplier(21, 50, 2))]


def test_reduce_on_plateau_cuts_when_nothing_gets_better() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = optim.reduce_on_plateau(optimizer, mode="max", factor=0.5, patience=1, min_lr=0.25)
    multipliers = []
    for value in (1, 2, 2, 2, 2, 2, 2, 2, 2):
        scheduler.step(value)
        multipliers.append(optimizer.param_groups[0]["lr"])
    assert multipliers == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("name", ["cosine", "linear", "constant", "inverse_sqrt", "one_cycle"])
def test_refusals(name: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = getattr(optim, name)
    option = "rise_fraction" if name == "one_cycle" else "warmup_fraction"
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        schedule(optimizer, 0)
    with pytest.raises(ValueError, match=rf"{option} must be in \[0, 1\], got 3"):
        schedule(optimizer, 10, **{option: 3})
    if name in ("cosine", "linear", "one_cycle"):
        with pytest.raises(ValueError, match="final_fraction must be in"):
            schedule(optimizer, 10, final_fraction=-0.1)
