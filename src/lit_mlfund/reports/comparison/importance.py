"""Estimates how much each setting of a sweep matters for its result."""

from __future__ import annotations

import numpy as np

from lit_mlfund.reports.comparison.board import Board

FEWEST_RUNS = 10


def importance(board: Board) -> dict[str, float]:
    """Return for each setting that differs how much of the variance of the values a forest loses without it.

    Permutation importance (Breiman 2001) of a random forest on the runs: the fall of its R² where the setting is
    shuffled. Empty for fewer than `FEWEST_RUNS` runs with a value, or values that are all the same.
    """
    rows = [number for number, value in enumerate(board.values) if value is not None]
    target = np.array([board.values[number] for number in rows], dtype=np.float64)
    if len(rows) < FEWEST_RUNS or not board.varied or np.ptp(target) == 0:
        return {}
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    places = [board.axis(key).places for key in board.varied]
    matrix = np.array([[-1.0 if column[row] is None else column[row] for column in places] for row in rows])
    forest = RandomForestRegressor(200, random_state=0).fit(matrix, target)
    found = permutation_importance(forest, matrix, target, n_repeats=10, random_state=0)
    ranked = sorted(zip(board.varied, found.importances_mean.tolist()), key=lambda pair: -pair[1])
    return dict(ranked)
