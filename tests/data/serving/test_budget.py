"""The rule that turns a number of rows into a training: a million rows seen, in batches of a thirtieth."""

from __future__ import annotations

import pytest

from lit_mlfund.data.serving.budget import Budget
from lit_mlfund.data.serving.spec import DataSpec


@pytest.mark.parametrize(
    "rows, expected",
    [
        (0, (32, 32, 2e-3)),
        (14, (32, 32, 2e-3)),
        (700, (32, 32, 2e-3)),
        (1919, (32, 32, 2e-3)),
        (1920, (32, 64, 2e-3)),  # 64 is a thirtieth
        (2000, (32, 64, 5e-3)),
        (8400, (32, 256, 5e-3)),
        (50_000, (20, 256, 5e-3)),
        (10_000_000, (4, 256, 5e-3)),
    ],
)
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_million_rows_are_seen(task: str, rows: int, expected: tuple[int, int, float]) -> None:
    budget = Budget.of(DataSpec(task, {}, num_train=rows))  # type: ignore[arg-type]
    assert (budget.epochs, budget.batch_size, budget.lr) == expected
    assert budget.weight_decay == 3e-4


def test_lists_have_fixed_values() -> None:
    assert Budget.of(DataSpec("ranking", {}, num_train=5000)) == Budget(10, 256, 1e-3, 1e-2)
