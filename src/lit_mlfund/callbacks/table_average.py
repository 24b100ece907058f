"""The average of an embedding table of which a step moves few rows, in the time of those rows."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class TableAverage:
    """A running average of all rows of a table, equal to the one over every step up to rounding.

    A row that no step moves is drawn towards the same weights again and again, which in the end is one step: what is
    left of the distance is the product of what each would have left. So a row is brought up to date when a step is
    about to move it, and all of them when the average is wanted. Twice the memory of the table and 8 bytes per row.

    Args:
        table: `[rows, d]`, with sparse gradients.
        average: `[rows, d]`, changed in place.
    """

    def __init__(self, table: Tensor, average: Tensor) -> None:
        self.table, self.average = table, average
        self.log_left = 0.0  # logarithm of what is left of a distance of when all rows were up to date
        # the same at the time when a row was: in double precision, since it counts the steps of a whole epoch
        self.row_log_left = torch.zeros(len(table), dtype=torch.float64, device=table.device)

    def before_step(self) -> None:
        """Bring the rows up to date that the gradient has."""
        gradient = self.table.grad
        if gradient is None or self.log_left == 0.0:  # no step has counted since all were up to date
            return
        if not gradient.is_sparse:  # a penalty of all rows beside the loss
            return self.settle()
        rows = gradient.coalesce().indices()[0]
        weights, average = self.table.index_select(0, rows), self.average.index_select(0, rows)
        average.lerp_(weights, self._share(self.row_log_left.index_select(0, rows)))
        self.average.index_copy_(0, rows, average)
        self.row_log_left.index_fill_(0, rows, self.log_left)

    def after_step(self, share: float) -> None:
        """The weights after a step take this share of the average, in (0, 1]."""
        if share < 1:
            self.log_left += math.log1p(-share)
        else:  # where an average begins
            self.average.copy_(self.table)
            self._all_are_up_to_date()

    def settle(self) -> None:
        """Bring all rows up to date."""
        if self.log_left != 0.0:
            self.average.lerp_(self.table, self._share(self.row_log_left))
            self._all_are_up_to_date()

    def settled(self) -> Tensor:
        """The average with all rows up to date, which leaves this one as it is."""
        if self.log_left == 0.0:
            return self.average
        return self.average.lerp(self.table.detach(), self._share(self.row_log_left))

    def state_dict(self) -> dict[str, Any]:
        """Empty where all rows are up to date: then the average says it all."""
        if self.log_left == 0.0:
            return {}
        return {"average": self.average, "log_left": self.log_left, "row_log_left": self.row_log_left}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.copy_(state["average"])
        self.log_left = state["log_left"]
        self.row_log_left.copy_(state["row_log_left"])

    def _share(self, row_log_left: Tensor) -> Tensor:
        """How far rows go towards their weights, `[rows, 1]`."""
        return -torch.expm1(self.log_left - row_log_left).to(self.average.dtype)[:, None]

    def _all_are_up_to_date(self) -> None:
        self.log_left = 0.0
        self.row_log_left.zero_()
