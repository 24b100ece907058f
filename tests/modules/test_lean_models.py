"""Every kind of model ends with the weights of its hand loop, to the bit; the models are those of the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "bench"))

from loop import CASES, fit, make_config, same_weights
from loop_cases import CaseData


@pytest.mark.parametrize("name", CASES)
def test_weights_equal_the_hand_loop_to_the_bit(name: str) -> None:
    case = CASES[name]
    assert same_weights(case, make_config(case, "cpu"), 12)  # a call of 10 steps, and a rest


def test_the_comparison_would_see_a_difference() -> None:
    case = CASES["mlp-30-64-1"]
    config = make_config(case, "cpu")
    config.schedule.warmup_fraction = 0.5
    assert not same_weights(case, config, 12)


@pytest.mark.parametrize("limit", [1e-3, 0.1])  # in every step, and in some
def test_clipped_weights_equal_the_hand_loop_to_the_bit(limit: float) -> None:
    case = CASES["mlp-30-64-1"]
    config = make_config(case, "cpu")
    config.trainer.gradient_clip_val = limit
    assert same_weights(case, config, 12)


def test_the_benchmark_takes_several_steps_a_call() -> None:
    case = CASES["mlp-30-64-1"]
    module = fit(case, make_config(case, "cpu"), CaseData(case, 12))
    assert module.steps_per_call == 10
