"""Averages weights over training for evaluation and checkpoints, without changing the training itself."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lit_mlfund.callbacks.table_average import TableAverage
from lit_mlfund.optim import RowwiseAdagrad
from lit_mlfund.optim.native import tensors


class WeightAverage(Callback):
    """Maintains running averages of all weights and norm statistics for validation and checkpoints.

    Subclasses define in `share` the share of the weights after a step. A checkpoint stores the averages as the
    model's weights, for serving, and the training weights in the callback's state, for resuming. Tables with
    row-wise updates are averaged by rows (`TableAverage`).
    """

    not_with: tuple[str, ...] = ("schedule_free", "fsdp")

    def __init__(self) -> None:
        self.count = 0  # steps that the average includes
        self._average: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}  # the module's own tensors, not copies
        self._tables: dict[str, TableAverage] = {}  # tables with row-wise updates
        self._rowwise_parts: list[RowwiseAdagrad] = []
        self._dense_names: list[str] = []  # all other weights
        self._restored_state: dict[str, Any] = {}  # loaded from a checkpoint, applied when training starts
        self._trainer: Trainer | None = None
        self._hook: Any = None

    def share(self, trainer: Trainer) -> float:
        """Return the share of the current weights in the updated average; 0 before averaging begins."""
        raise NotImplementedError

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        state = pl_module.state_dict()  # shares memory with the module
        self._weights = {name: value for name, value in state.items() if value.is_floating_point()}
        self._average = {name: value.detach().clone() for name, value in self._weights.items()}
        optimizer = trainer.optimizers[0]
        self._rowwise_parts = [
            p for p in getattr(optimizer, "parts", [optimizer]) if isinstance(p, RowwiseAdagrad)
        ]
        tables = {
            table.data_ptr(): table for part in self._rowwise_parts for table in tensors(part.param_groups)
        }
        self._tables = {
            name: TableAverage(tables[value.data_ptr()], self._average[name])
            for name, value in self._weights.items()
            if value.data_ptr() in tables
        }
        self._dense_names = [name for name in self._weights if name not in self._tables]
        for name, value in self._restored_state.get("weights", {}).items():
            self._weights[name].copy_(value)
        for name, state in self._restored_state.get("tables", {}).items():
            self._tables[name].load_state_dict(state)
        self._restored_state = {}
        self._trainer, self._hook = trainer, optimizer.register_step_post_hook(self._update)
        for part in self._rowwise_parts:
            part.before_update = self._before_update

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook, self._trainer, self._average, self._weights, self._tables = None, None, {}, {}, {}
            for part in self._rowwise_parts:
                part.before_update = None

    def _before_update(self) -> None:
        for table in self._tables.values():
            table.before_step()

    @torch.no_grad()
    def _update(self, *_: Any) -> None:
        assert self._trainer is not None
        share = self.share(self._trainer)
        if share > 0:
            self.count += 1
            average, weights = (
                [values[name] for name in self._dense_names] for values in (self._average, self._weights)
            )
            torch._foreach_lerp_(average, weights, share)
            for table in self._tables.values():
                table.after_step(share)

    def _averaging(self, trainer: Trainer) -> bool:
        return trainer.state.fn == "fit" and self.count > 0

    @torch.no_grad()
    def _swap_weights(self) -> None:
        for table in self._tables.values():
            table.flush()
        for name, weight in self._weights.items():
            current = weight.clone()
            weight.copy_(self._average[name])
            self._average[name].copy_(current)

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._averaging(trainer):
            self._swap_weights()

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        # Runs before the checkpoint is written: Lightning calls checkpoint callbacks last.
        if self._averaging(trainer):
            self._swap_weights()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._averaging(trainer):
            self._swap_weights()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if self.count:
            tables = {name: table.flushed() for name, table in self._tables.items()}
            checkpoint["state_dict"] = {**checkpoint["state_dict"], **self._average, **tables}

    def state_dict(self) -> dict[str, Any]:
        tables = {name: state for name, table in self._tables.items() if (state := table.state_dict())}
        return {
            "count": self.count,
            "weights": dict(self._weights) if self.count else {},
            **({"tables": tables} if tables else {}),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.count, self._restored_state = state_dict["count"], state_dict


class EMA(WeightAverage):
    """Maintains an exponential moving average of the weights, which averages out the noise of the last steps.

    Args:
        decay: share of the old average that a step retains; 0.999 averages over about a thousand steps. Step n
            uses at most (1 + n) / (10 + n), so that the initial weights are soon forgotten.
    """

    not_with = ("SWA", "schedule_free", "fsdp")

    def __init__(self, *, decay: float = 0.999):
        super().__init__()
        if not 0 < decay < 1:
            raise ValueError(f"decay must be in (0, 1), got {decay}")
        self.decay = decay

    def share(self, trainer: Trainer) -> float:
        return 1 - min(self.decay, (1 + self.count) / (10 + self.count))


class SWA(WeightAverage):
    """Computes the uniform mean of the weights over the last part of training (stochastic weight averaging).

    Source: Izmailov et al. 2018, arXiv 1803.05407. Averages over every step, not one per epoch. The schedule still
    sets the learning rate, which should not decay to zero there (use `schedule=constant`): otherwise there is
    little to average.

    Args:
        start: fraction of the epochs after which averaging begins.
    """

    def __init__(self, *, start: float = 0.75):
        super().__init__()
        if not 0 <= start < 1:
            raise ValueError(f"start must be in [0, 1), got {start}")
        self.start = start

    def share(self, trainer: Trainer) -> float:
        progress = trainer.global_step / trainer.max_steps if trainer.max_steps > 0 else 0.0
        if trainer.max_epochs and trainer.max_epochs > 0:
            progress = max(progress, trainer.current_epoch / trainer.max_epochs)
        return 1 / (self.count + 1) if progress >= self.start else 0.0
