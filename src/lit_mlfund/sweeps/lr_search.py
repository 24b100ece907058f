"""Which learning rate to try next, given what the others brought."""

from __future__ import annotations

import math
from collections.abc import Mapping

STEPS = (4, 2, 1)  # in eighths of a factor of ten: √10 ≈ 3.2, then 1.8, then 1.3
LOWEST, HIGHEST = 1e-8, 1e2


def rate_at(center: float, place: int) -> float:
    """The learning rate `place` eighths of a factor of ten from `center`, rounded to three digits."""
    return center if place == 0 else float(f"{center * 10 ** (place / 8):.3g}")


def next_place(tried: Mapping[int, float], center: float = 1.0) -> int | None:
    """The next place on the grid: a wide grid around the best place so far, then finer ones.

    A place is asked for until the best one has a neighbour on both sides within a step of the grid; then the step is
    halved. The best is therefore never an end of what was tried, unless a rate beyond is not a sensible one. Upwards is
    looked first: too low a rate is the more common mistake.

    Args:
        tried: place -> value, where more is better; NaN for a training that failed.
        center: rate at place 0.

    Returns:
        None when the grid is as fine as it gets.
    """
    if not tried:
        return 0
    best = best_place(tried)
    for step in STEPS:
        for place, between in (
            (best + step, range(best + 1, best + step + 1)),
            (best - step, range(best - step, best)),
        ):
            if not any(near in tried for near in between) and LOWEST <= rate_at(center, place) <= HIGHEST:
                return place
    return None


def best_place(tried: Mapping[int, float]) -> int:
    """The place of the highest value; of several the one nearest to the center."""
    return max(
        tried, key=lambda place: (-math.inf if math.isnan(tried[place]) else tried[place], -abs(place))
    )
