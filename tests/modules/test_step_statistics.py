"""What is logged of the steps since the last reading, against sums by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lit_mlfund.modules.step_statistics import RunningStatistics

LOSSES, NORMS, LIMIT = [3.0, 1.0, 2.0, 4.0], [0.5, 2.0, 1.0, 1.5], 1.0


def add(statistics: RunningStatistics, steps: slice, limit: float = LIMIT) -> None:
    for loss, norm in zip(LOSSES[steps], NORMS[steps]):
        statistics.add_loss(torch.tensor(loss))
        statistics.add_norm(torch.tensor(norm), limit)


@pytest.mark.parametrize("interrupted", [False, True])
def test_means_since_the_last_reading(interrupted: bool) -> None:
    statistics = RunningStatistics()
    assert statistics.read() == {}
    add(statistics, slice(0, 2))
    if interrupted:
        state = statistics.state_dict()
        statistics = RunningStatistics()
        statistics.load_state_dict(state, torch.device("cpu"))
    assert statistics.num_steps == 2
    add(statistics, slice(2, 4))
    assert statistics.num_steps == 4
    assert statistics.read() == {
        "train/loss": 2.5,
        "gradient/norm": 1.25,
        "gradient/norm_max": 2.0,
        "gradient/clipped_share": 0.5,  # a norm at the limit is not clipped
    }
    assert statistics.num_steps == 0 and statistics.read() == {}


def test_without_a_limit_nothing_is_clipped() -> None:
    statistics = RunningStatistics()
    add(statistics, slice(0, 4), math.inf)
    assert statistics.read()["gradient/clipped_share"] == 0


def test_an_empty_state_is_restored_as_it_was() -> None:
    statistics = RunningStatistics()
    statistics.load_state_dict(RunningStatistics().state_dict(), torch.device("cpu"))
    assert statistics.read() == {}
    statistics.add_loss(torch.tensor(2.0))
    assert statistics.read() == {"train/loss": 2.0}


def test_several_trainings_at_once_are_split_into_their_own() -> None:
    together = RunningStatistics()
    for step in (0, 1):
        together.add_loss(torch.tensor(LOSSES[2 * step : 2 * step + 2]))
        together.add_norm(torch.tensor(NORMS[2 * step : 2 * step + 2]), LIMIT)
    first, second = (part.read() for part in together.split(2))
    assert first == {
        "train/loss": 2.5, "gradient/norm": 0.75, "gradient/norm_max": 1.0, "gradient/clipped_share": 0.0,
    }  # fmt: skip
    assert second == {
        "train/loss": 2.5, "gradient/norm": 1.75, "gradient/norm_max": 2.0, "gradient/clipped_share": 1.0,
    }  # fmt: skip
    assert together.read() == {}
