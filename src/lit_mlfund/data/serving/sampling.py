"""Draws the rows of a split that the doctor looks at: the same ones wherever they are asked for."""

from __future__ import annotations

import numpy as np

MOST_ROWS = {"train": 3000}
MOST_LATER_ROWS = 1500


def sampled_rows(split: str, size: int) -> np.ndarray:
    """Return the positions of the sampled rows of a split of `size` rows, in ascending order."""
    most = MOST_ROWS.get(split, MOST_LATER_ROWS)
    if size <= most:
        return np.arange(size)
    return np.sort(np.random.default_rng(0).choice(size, most, replace=False))
