"""How embedding tables are trained beside the rest of a model, so that a step does not grow with their rows."""

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
    """Gradients that have the rows of the batch, and row-wise Adagrad for them; see `RowwiseAdagrad`.

    Args:
        lr: learning rate of the tables; the schedule multiplies it like that of the other weights.
        eps: added to the root of a row's sum of squares.
    """

    not_with = ("sophia", "fsdp")  # Sophia's curvature would leave gradients of its own in the tables
    precisions = ("32-true", "64-true", "bf16-mixed", "16-mixed", "32", "64")
    eager = True  # Inductor asks tensors for their storage, which a sparse gradient has not (torch 2.13)

    def __init__(self, *, lr: float = 0.05, eps: float = 1e-8) -> None:
        self.lr, self.eps = lr, eps

    def prepare(self, model: nn.Module) -> None:
        """Let the tables of `model` give sparse gradients; ValueError where it has none."""
        for owner in _owners(model):
            owner.table.sparse = True

    def optimizer(self, model: nn.Module) -> Optimizer:
        """That of the tables alone, of a prepared model or a module around it.

        Raises ValueError where several processes cannot sum sparse gradients.
        """
        if dist.is_initialized() and dist.get_world_size() > 1 and dist.get_backend() == "nccl":
            raise ValueError(
                "embedding: NCCL does not sum sparse gradients over processes; use trainer.accelerator=cpu, "
                "one GPU, or another embedding"
            )
        tables = {
            module.weight: f"{name}.weight"
            for name, module in model.named_modules()
            if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.sparse
        }
        params = [(name, weight) for weight, name in tables.items()]  # a shared table once
        return RowwiseAdagrad([{"name": "tables", "params": params}], lr=self.lr, eps=self.eps)


class ShardedTables:
    """TorchRec's tables, spread by rows over the processes and trained in the backward pass; see `ShardedTable`.

    Args:
        lr: learning rate of the tables; the schedule multiplies it like that of the other weights.
        eps: added to the root of a row's sum of squares.
    """

    # its requirements name an old torchmetrics, so that no extra can have it
    needs = ("torchrec", "torchrec", "pip install --no-deps torchrec==1.8.0")
    not_with = ("EMA", "SWA", "L1", "L2", "sophia", "fsdp")
    precisions = ("32-true", "bf16-mixed", "32")
    steps_in_backward = True
    eager = True

    def __init__(self, *, lr: float = 0.05, eps: float = 1e-8) -> None:
        self.lr, self.eps = lr, eps

    def prepare(self, model: nn.Module) -> None:
        """Put a `ShardedTable` in the place of each table of `model`; ValueError where it has none."""
        made: dict[int, ShardedTable] = {}  # a table that two modules share stays one
        for owner in _owners(model):
            weight = owner.table.weight
            made.setdefault(id(weight), ShardedTable(weight, eps=self.eps))
            owner.table = made[id(weight)]

    def optimizer(self, model: nn.Module) -> Optimizer:
        """That of the tables alone, of a prepared model or a module around it."""
        tables = {name: module for name, module in model.named_modules() if isinstance(module, ShardedTable)}
        return _InBackward(tables, self.lr)


class _InBackward(Optimizer):
    """Rate and state of tables that take their steps themselves; its own step does nothing.

    The state is that of `RowwiseAdagrad`, gathered in the first process and empty in the others.
    """

    def __init__(self, tables: dict[str, ShardedTable], lr: float) -> None:
        self.tables = list(tables.values())
        places = [(f"{name}.weight", torch.zeros(0)) for name in tables]  # of their states in a checkpoint
        super().__init__([{"name": "tables", "params": places}], {"lr": lr})
        for table in self.tables:
            table.rate = lambda: float(self.param_groups[0]["lr"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return None if closure is None else closure()

    def state_dict(self) -> dict[str, Any]:
        sums = {number: {"sum": table.gather(table.sums())} for number, table in enumerate(self.tables)}
        return {**super().state_dict(), "state": sums}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        super().load_state_dict({**state_dict, "state": {}})
        for number, table in zip(numbers, self.tables):
            if number in state_dict["state"]:
                table.load(table.sums(), state_dict["state"][number]["sum"])


def _owners(model: nn.Module) -> list[Any]:
    """The modules whose `table` is looked up by rows."""
    found = [module for module in model.modules() if isinstance(module, (CategoricalEmbedding, TokenBag))]
    if not found:
        raise ValueError(
            f"embedding: {type(model).__name__} of this data has no tables of categories or bags of tokens; "
            "use embedding=dense"
        )
    return found
