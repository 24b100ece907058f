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
    config.trainer.gradient_clip_val = 1e-3
    assert not same_weights(case, config, 12)


def test_the_benchmark_takes_several_steps_a_call() -> None:
    case = CASES["mlp-30-64-1"]
    module = fit(case, make_config(case, "cpu"), CaseData(case, 12))
    assert module.steps_per_call == 10
