"""The search over learning rates: brackets the best, then looks closer."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from lit_mlfund.sweeps.lr_search import HIGHEST, LOWEST, best_index, next_index, rate_at


def search(value_of: Callable[[float], float], center: float) -> dict[int, float]:
    """Try each proposed index until there is none."""
    tried: dict[int, float] = {}
    while (index := next_index(tried, center)) is not None:
        assert index not in tried
        tried[index] = value_of(rate_at(center, index))
    return tried


@pytest.mark.parametrize("peak", [3e-5, 1e-3, 0.02, 0.7])
def test_the_peak_is_found_from_afar_within_a_factor_of_four_thirds(peak: float) -> None:
    tried = search(lambda rate: -abs(math.log10(rate / peak)), center=1e-3)
    best = rate_at(1e-3, best_index(tried))
    assert abs(math.log10(best / peak)) <= 1 / 16 + 1e-2
    assert min(tried) < best_index(tried) < max(tried)  # a bracket, not an end
    assert len(tried) <= 14


def test_a_wide_grid_comes_first() -> None:
    tried: dict[int, float] = {}
    for expected in (0, 4, 8, 6, 2, 5, 3):  # the best is 4 (√10 times the center)
        assert next_index(tried) == expected
        tried[expected] = -abs(expected - 4.0)
    assert next_index(tried) is None


def test_failures_are_worse_than_any_value_and_bracket_the_best() -> None:
    tried = search(lambda rate: math.nan if rate > 2e-3 else -1.0 / rate, center=1e-3)
    assert 1e-3 <= rate_at(1e-3, best_index(tried)) <= 2e-3
    assert next_index({0: math.nan}) == 4


def test_equal_values_favour_the_configured_rate_and_end() -> None:
    tried = search(lambda rate: 0.5, center=0.1)
    assert best_index(tried) == 0
    assert len(tried) == 7


def test_rates_beyond_sense_are_left_out() -> None:
    tried = search(lambda rate: rate, center=1.0)
    assert max(rate_at(1.0, index) for index in tried) <= HIGHEST
    tried = search(lambda rate: -rate, center=1e-6)
    assert min(rate_at(1e-6, index) for index in tried) >= LOWEST


def test_the_configured_rate_is_taken_as_it_is() -> None:
    assert rate_at(0.0123456, 0) == 0.0123456
    assert rate_at(1e-3, 4) == 0.00316
