"""Means over seeds and paired comparisons, held against scipy; spreads, against a loop."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from lit_mlfund.references.comparison import bootstrap_mean, mean_interval, paired_interval, spreads


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = [1.0, 2.5, 2.0, 4.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((np.mean(values), expected.low, expected.high))
    assert mean_interval([3.0])[0] == 3.0 and math.isnan(mean_interval([3.0])[1])
    assert all(map(math.isnan, mean_interval([])))


def test_pairs_are_those_of_the_same_seed() -> None:
    first, second = {"0": 1.0, "1": 2.0, "2": 3.5}, {"2": 3.0, "0": 0.9, "1": 1.6, "3": 9.0}
    expected = stats.ttest_rel([1.0, 2.0, 3.5], [0.9, 1.6, 3.0]).confidence_interval(0.95)
    assert paired_interval(first, second) == pytest.approx((1 / 3, expected.low, expected.high))
    missing = first | {"0": math.nan}
    assert paired_interval(missing, second)[0] == pytest.approx(0.45)


def test_a_spread_is_the_range_along_one_axis() -> None:
    cube = np.random.default_rng(0).normal(size=(3, 2, 4))
    values = {tuple(map(str, place)): float(cube[place]) for place in product(*map(range, cube.shape))}
    for axis in range(3):
        assert sorted(spreads(values, axis)) == pytest.approx(sorted(np.ptp(cube, axis=axis).ravel()))
    values[("0", "0", "0")] = math.nan  # a failed run: its line tells nothing
    assert len(spreads(values, 2)) == 5


def test_a_bootstrap_interval_is_about_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(size=200).tolist()
    mean, low, high = bootstrap_mean(values)
    half = 1.96 * np.std(values) / 200**0.5
    assert (mean, low, high) == pytest.approx((np.mean(values), mean - half, mean + half), abs=0.1 * half)
