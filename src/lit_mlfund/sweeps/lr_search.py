"""Chooses the next learning rate to try from the results of those tried before."""

from __future__ import annotations

import math
from collections.abc import Mapping

STEPS = (4, 2, 1)  # of the grid, in eighths of a factor of ten: √10 ≈ 3.2, then 1.8, then 1.3
LOWEST, HIGHEST = 1e-8, 1e2


def rate_at(center: float, index: int) -> float:
    """Return the learning rate `index` eighths of a factor of ten from `center`, rounded to three digits."""
    return center if index == 0 else float(f"{center * 10 ** (index / 8):.3g}")


def next_index(tried: Mapping[int, float], center: float = 1.0) -> int | None:
    """Return the next grid index to try: on a wide grid around the best index so far, then on finer ones.

    Indices are returned until the best one has a neighbour on both sides within a step of the grid; then the step is
    halved. The best is therefore never an end of the tried range, unless the rate beyond is outside
    `LOWEST` … `HIGHEST`. Higher rates are tried first: too low a rate is the more common mistake.

    Args:
        tried: grid index -> value, where more is better; NaN for a training that failed.
        center: rate at index 0.

    Returns:
        None when the finest grid is complete.
    """
    if not tried:
        return 0
    best = best_index(tried)
    for step in STEPS:
        for index, between in (
            (best + step, range(best + 1, best + step + 1)),
            (best - step, range(best - step, best)),
        ):
            if not any(near in tried for near in between) and LOWEST <= rate_at(center, index) <= HIGHEST:
                return index
    return None


def best_index(tried: Mapping[int, float]) -> int:
    """Return the index of the highest value; among equal ones, the index nearest to the center."""
    return max(
        tried, key=lambda index: (-math.inf if math.isnan(tried[index]) else tried[index], -abs(index))
    )
