"""Row-wise Adagrad: a learning rate for each row of an embedding table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class RowwiseAdagrad(Optimizer):
    """Adagrad with one sum per row of a table (Mudigere et al. 2022, arXiv 2104.05158).

    For row r with gradient g of d numbers: `sum_r += mean(g²)`, then `w_r -= lr·g / (√sum_r + eps)`. A row without a
    gradient changes neither its weights nor its sum, so that a sparse gradient trains exactly as the dense one would,
    in the time of the rows that it has. (Adam's moments fade in every step; to skip the rows that a batch does not
    look up makes another algorithm of it.) 4 bytes of state per row.

    Args:
        params: tables `[rows, d]`, (name, table) pairs, or groups of either; no weight decay.
        lr: learning rate: how far the first gradient moves a row, as a root mean square.
        eps: added to the root of the sum.
    """

    # called in each step when the gradients are there and no row has moved; a hook of torch's comes before the closure
    before_move: Callable[[], None] | None = None

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
        if self.before_move is not None:
            self.before_move()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    state = self.state[table]
                    if "sum" not in state:
                        state["sum"] = table.new_zeros(len(table))
                    rowwise_adagrad_(table, state["sum"], table.grad, lr=group["lr"], eps=group["eps"])
        return loss


def rowwise_adagrad_(table: Tensor, total: Tensor, gradient: Tensor, *, lr: float, eps: float) -> None:
    """One step of `RowwiseAdagrad`, in place.

    Args:
        table: `[rows, d]`.
        total: `[rows]`, the running sums of the mean squares.
        gradient: `[rows, d]`, sparse (coalesced or not) or dense.
        lr: learning rate.
        eps: added to the root of the sum.
    """
    if not gradient.is_sparse:
        total.add_(gradient.square().mean(1))
        table.sub_(gradient * (lr / (total.sqrt() + eps))[:, None])
        return
    gradient = gradient.coalesce()
    rows, values = gradient.indices()[0], gradient.values()
    sums = total.index_select(0, rows) + values.square().mean(1)
    total.index_copy_(0, rows, sums)
    table.index_add_(0, rows, values * (-lr / (sums.sqrt() + eps))[:, None])
