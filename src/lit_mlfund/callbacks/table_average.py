"""Averages embedding tables lazily, at a cost proportional to the rows that a step updates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class TableAverage:
    """Maintains a running average of a table's rows, equal up to rounding to an update of all rows in every step.

    While a row does not change, each update shrinks the distance of its average to the same weights by a factor;
    many such updates equal one with the product of the factors. So pending updates are applied to a row just before
    a step changes it, and to all rows when the average is needed. Table and average take twice the table's memory and
    8 bytes per row.

    Args:
        table: `[rows, d]`, with sparse gradients.
        average: `[rows, d]`, updated in place.
    """

    def __init__(self, table: Tensor, average: Tensor) -> None:
        self.table, self.average = table, average
        # log of the product of all factors (1 - share) since the last flush
        self.log_left = 0.0
        # value of `log_left` at each row's last update; in double precision, since it sums over a whole epoch
        self.row_log_left = torch.zeros(len(table), dtype=torch.float64, device=table.device)

    def before_step(self) -> None:
        """Apply pending updates to the rows in the gradient, before the optimizer changes them."""
        gradient = self.table.grad
        if gradient is None or self.log_left == 0.0:  # nothing pending
            return
        if not gradient.is_sparse:  # a penalty on all rows makes it dense
            return self.flush()
        rows = gradient.coalesce().indices()[0]
        weights, average = self.table.index_select(0, rows), self.average.index_select(0, rows)
        average.lerp_(weights, self._share(self.row_log_left.index_select(0, rows)))
        self.average.index_copy_(0, rows, average)
        self.row_log_left.index_fill_(0, rows, self.log_left)

    def after_step(self, share: float) -> None:
        """Record an update of the average in which the weights after the step have this share, in (0, 1]."""
        if share < 1:
            self.log_left += math.log1p(-share)
        else:  # the first step of an average
            self.average.copy_(self.table)
            self._reset_pending()

    def flush(self) -> None:
        """Apply pending updates to all rows."""
        if self.log_left != 0.0:
            self.average.lerp_(self.table, self._share(self.row_log_left))
            self._reset_pending()

    def flushed(self) -> Tensor:
        """Return the average with pending updates applied, without changing the stored one."""
        if self.log_left == 0.0:
            return self.average
        return self.average.lerp(self.table.detach(), self._share(self.row_log_left))

    def state_dict(self) -> dict[str, Any]:
        """Return the state; empty if no updates are pending, since the average then suffices."""
        if self.log_left == 0.0:
            return {}
        return {"average": self.average, "log_left": self.log_left, "row_log_left": self.row_log_left}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.copy_(state["average"])
        self.log_left = state["log_left"]
        self.row_log_left.copy_(state["row_log_left"])

    def _share(self, row_log_left: Tensor) -> Tensor:
        """Return the share of the weights in the pending update of each row, `[rows, 1]`."""
        return -torch.expm1(self.log_left - row_log_left).to(self.average.dtype)[:, None]

    def _reset_pending(self) -> None:
        self.log_left = 0.0
        self.row_log_left.zero_()
