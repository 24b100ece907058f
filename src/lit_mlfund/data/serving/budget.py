"""Derives the length of a training, its batches and its rates from the number of training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lit_mlfund.data.serving.spec import DataSpec

BY_ROWS = "by_rows"  # the word in a configuration that a number of the budget replaces
ROWS_SEEN = 1_000_000
EPOCHS = 4, 32
BATCH = 32, 256
SMALL = 2_000  # rows below which the rate is lower


@dataclass(frozen=True)
class Budget:
    """Holds the defaults of a training on a table.

    A training sees a million rows, in 4 to 32 epochs, in batches of a power of two up to a thirtieth of the rows,
    32 to 256. The rate is AdamW's; it was chosen with this rule (docs/claims/table_defaults.md). Lists of a ranking,
    for which the rule was not tried, have fixed values.
    """

    epochs: int = 10
    batch_size: int = 256
    lr: float = 1e-3
    weight_decay: float = 1e-2

    @classmethod
    def of(cls, spec: DataSpec) -> Self:
        """Return the budget for the data that `spec` describes."""
        rows = max(spec.num_train, 1)
        if spec.task not in ("binary", "multiclass", "regression"):
            return cls()
        batch_size = BATCH[0]
        while batch_size < BATCH[1] and 2 * batch_size <= rows / 30:
            batch_size *= 2
        epochs = min(max(round(ROWS_SEEN / rows), EPOCHS[0]), EPOCHS[1])
        return cls(epochs, batch_size, 2e-3 if rows < SMALL else 5e-3, 3e-4)
