"""Implements row-wise Adagrad, which adapts the learning rate of each row of an embedding table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class RowwiseAdagrad(Optimizer):
    """Implements Adagrad with one accumulator per row of a table (Mudigere et al. 2022, arXiv 2104.05158).

    For row r with gradient g of d numbers: `sum_r += mean(g²)`, then `w_r -= lr·g / (√sum_r + eps)`. Without a
    gradient, neither a row's weights nor its sum change, so that sparse gradients train exactly as dense ones would, at
    a cost proportional to their rows. (Adam's moments decay in every step; skipping the rows that a batch does not use
    would make it a different algorithm.) 4 bytes of state per row.

    Args:
        params: tables `[rows, d]`, (name, table) pairs, or groups of either; no weight decay.
        lr: learning rate, the root mean square of a row's first update.
        eps: added to the root of the sum.
    """

    # called in each step once gradients exist and before any row changes; torch's own hook runs before the closure
    before_update: Callable[[], None] | None = None

    def __init__(self, params: Iterable[Any], *, lr: float = 0.05, eps: float = 1e-8) -> None:
        for name, value in (("lr", lr), ("eps", eps)):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        super().__init__(params, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.before_update is not None:
            self.before_update()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    state = self.state[table]
                    if "sum" not in state:
                        state["sum"] = table.new_zeros(len(table))
                    rowwise_adagrad_(table, state["sum"], table.grad, lr=group["lr"], eps=group["eps"])
        return loss


def rowwise_adagrad_(table: Tensor, row_sums: Tensor, gradient: Tensor, *, lr: float, eps: float) -> None:
    """Apply one step of `RowwiseAdagrad` in place.

    Args:
        table: `[rows, d]`.
        row_sums: `[rows]`, the running sums of the mean squares.
        gradient: `[rows, d]`, sparse (coalesced or not) or dense.
        lr: learning rate.
        eps: added to the root of the sum.
    """
    if not gradient.is_sparse:
        row_sums.add_(gradient.square().mean(1))
        table.sub_(gradient * (lr / (row_sums.sqrt() + eps))[:, None])
        return
    gradient = gradient.coalesce()
    rows, values = gradient.indices()[0], gradient.values()
    new_sums = row_sums.index_select(0, rows) + values.square().mean(1)
    row_sums.index_copy_(0, rows, new_sums)
    table.index_add_(0, rows, values * (-lr / (new_sums.sqrt() + eps))[:, None])
