"""Trains embedding tables apart from the rest of a model, at a cost per step independent of their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from lit_mlfund.models.inputs import CategoricalEmbedding, TokenBag
from lit_mlfund.models.sharded_table import ShardedTable
from lit_mlfund.optim.rowwise import RowwiseAdagrad


class SparseTables:
    """Trains tables with sparse gradients, limited to the rows of the batch, and row-wise Adagrad.

    Args:
        lr: learning rate of the tables; the schedule multiplies it like that of the other weights.
        eps: added to the root of a row's sum of squares.
    """

    not_with = ("sophia", "fsdp")  # Sophia's curvature estimate would leave its gradients in the tables
    precisions = ("32-true", "64-true", "bf16-mixed", "16-mixed", "32", "64")
    eager = True  # Inductor accesses tensor storage, which sparse gradients lack (torch 2.13)

    def __init__(self, *, lr: float = 0.05, eps: float = 1e-8) -> None:
        self.lr, self.eps = lr, eps

    def prepare(self, model: nn.Module) -> None:
        """Make the tables of `model` produce sparse gradients; raise ValueError if it has no tables."""
        for owner in _modules_with_tables(model):
            owner.table.sparse = True

    def optimizer(self, model: nn.Module) -> Optimizer:
        """Create the optimizer for the tables only, from a prepared model or a module that contains it.

        Raises ValueError if the processes cannot sum sparse gradients.
        """
        if dist.is_initialized() and dist.get_world_size() > 1 and dist.get_backend() == "nccl":
            raise ValueError(
                "embedding: NCCL does not sum sparse gradients over processes; use trainer.accelerator=cpu, "
                "one GPU or another embedding"
            )
        tables = {
            module.weight: f"{name}.weight"
            for name, module in model.named_modules()
            if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.sparse
        }
        params = [(name, weight) for weight, name in tables.items()]  # lists a shared table once
        return RowwiseAdagrad([{"name": "tables", "params": params}], lr=self.lr, eps=self.eps)


class ShardedTables:
    """Shards tables by rows over the processes with TorchRec and trains them in the backward pass.

    See `ShardedTable`.

    Args:
        lr: learning rate of the tables; the schedule multiplies it like that of the other weights.
        eps: added to the root of a row's sum of squares.
    """

    # TorchRec requires an old torchmetrics, so that it cannot be part of an extra
    needs = ("torchrec", "torchrec", "pip install --no-deps torchrec==1.8.0")
    not_with = ("EMA", "SWA", "L1", "L2", "sophia", "fsdp")
    precisions = ("32-true", "bf16-mixed", "32")
    steps_in_backward = True
    eager = True

    def __init__(self, *, lr: float = 0.05, eps: float = 1e-8) -> None:
        self.lr, self.eps = lr, eps

    def prepare(self, model: nn.Module) -> None:
        """Replace each table of `model` by a `ShardedTable`; raise ValueError if it has no tables."""
        sharded: dict[int, ShardedTable] = {}  # by id of the weight, so that shared tables stay shared
        for owner in _modules_with_tables(model):
            weight = owner.table.weight
            sharded.setdefault(id(weight), ShardedTable(weight, eps=self.eps))
            owner.table = sharded[id(weight)]

    def optimizer(self, model: nn.Module) -> Optimizer:
        """Create the optimizer for the tables only, from a prepared model or a module that contains it."""
        tables = {name: module for name, module in model.named_modules() if isinstance(module, ShardedTable)}
        return _TableStateOptimizer(tables, self.lr)


class _TableStateOptimizer(Optimizer):
    """Exposes learning rate and state of tables that are updated in the backward pass; its `step` does nothing.

    The state has the format of `RowwiseAdagrad`, gathered in the first process and empty in the others.
    """

    def __init__(self, tables: dict[str, ShardedTable], lr: float) -> None:
        self.tables = list(tables.values())
        # placeholder parameters number the states in a checkpoint
        placeholders = [(f"{name}.weight", torch.zeros(0)) for name in tables]
        super().__init__([{"name": "tables", "params": placeholders}], {"lr": lr})
        for table in self.tables:
            table.learning_rate = lambda: float(self.param_groups[0]["lr"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return None if closure is None else closure()

    def state_dict(self) -> dict[str, Any]:
        sums = {
            number: {"sum": table.gather(table.accumulator_view())}
            for number, table in enumerate(self.tables)
        }
        return {**super().state_dict(), "state": sums}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        super().load_state_dict({**state_dict, "state": {}})
        for number, table in zip(numbers, self.tables):
            if number in state_dict["state"]:
                table.load(table.accumulator_view(), state_dict["state"][number]["sum"])


def _modules_with_tables(model: nn.Module) -> list[Any]:
    """Return the modules that look up rows of a `table`; raise ValueError if there are none."""
    modules = [module for module in model.modules() if isinstance(module, (CategoricalEmbedding, TokenBag))]
    if not modules:
        raise ValueError(
            f"embedding: {type(model).__name__} has no embedding tables for the categories or tokens of these data; "
            "use embedding=dense"
        )
    return modules
