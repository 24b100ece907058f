"""Tests the record of training values in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from lit_mlfund.callbacks.trace import Trace


def filled(max_entries: int, count: int) -> Trace:
    trace = Trace(max_entries)
    for number in range(count):
        values = {"train/loss": float(number), "gradient/norm_max": float(number % 7)}
        trace.add({"step": 10 * (number + 1), "num_steps": 10, **values})
    return trace


def test_entries_are_unchanged_until_there_are_too_many() -> None:
    assert [entry["train/loss"] for entry in filled(8, 8).entries] == list(range(8))


@pytest.mark.parametrize("count", [9, 50, 1000])
def test_merged_entries_have_the_same_mean_largest_and_last_step(count: int) -> None:
    entries = filled(8, count).entries
    assert len(entries) <= 8
    weights = [entry["num_steps"] for entry in entries]
    assert sum(weights) == 10 * count
    assert np.average([entry["train/loss"] for entry in entries], weights=weights) == pytest.approx(
        (count - 1) / 2
    )
    assert max(entry["gradient/norm_max"] for entry in entries) == 6
    assert entries[-1]["step"] == 10 * count
    assert [entry["step"] for entry in entries] == list(np.cumsum(weights))


def test_a_resumed_trace_goes_on() -> None:
    trace = Trace(8, entries=filled(8, 3).entries)
    trace.add({"step": 40, "num_steps": 10, "train/loss": 3.0})
    assert [entry["step"] for entry in trace.entries] == [10, 20, 30, 40]
