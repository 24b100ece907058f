"""Averages of the weights along the training: what is evaluated and kept, while the weights themselves go on."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lit_mlfund.callbacks.table_average import TableAverage
from lit_mlfund.optim import RowwiseAdagrad
from lit_mlfund.optim.native import tensors


class WeightAverage(Callback):
    """Keeps an average of every weight (and running statistic of a norm); validation and checkpoints see the average.

    A subclass says in `share` how much the weights after a step count. A checkpoint holds the averages where a
    model's weights are, for whoever serves it, and the weights beside them, for a resumed run. Tables that are
    trained by rows are averaged by rows (`TableAverage`).
    """

    not_with: tuple[str, ...] = ("schedule_free", "fsdp")

    def __init__(self) -> None:
        self.count = 0  # steps in the average
        self._average: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}  # the module's own tensors
        self._tables: dict[str, TableAverage] = {}  # of tables that are trained by rows
        self._by_rows: list[RowwiseAdagrad] = []
        self._dense: list[str] = []  # the names of the others
        self._restored: dict[str, Any] = {}  # state out of a checkpoint
        self._trainer: Trainer | None = None
        self._hook: Any = None

    def share(self, trainer: Trainer) -> float:
        """The share of the average that the present weights take; 0 while averaging has not begun."""
        raise NotImplementedError

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        state = pl_module.state_dict()  # shares memory with the module
        self._weights = {name: value for name, value in state.items() if value.is_floating_point()}
        self._average = {name: value.detach().clone() for name, value in self._weights.items()}
        optimizer = trainer.optimizers[0]
        self._by_rows = [p for p in getattr(optimizer, "parts", [optimizer]) if isinstance(p, RowwiseAdagrad)]
        tables = {table.data_ptr(): table for part in self._by_rows for table in tensors(part.param_groups)}
        self._tables = {
            name: TableAverage(tables[value.data_ptr()], self._average[name])
            for name, value in self._weights.items()
            if value.data_ptr() in tables
        }
        self._dense = [name for name in self._weights if name not in self._tables]
        for name, value in self._restored.get("weights", {}).items():
            self._weights[name].copy_(value)
        for name, state in self._restored.get("tables", {}).items():
            self._tables[name].load_state_dict(state)
        self._restored = {}
        self._trainer, self._hook = trainer, optimizer.register_step_post_hook(self._update)
        for part in self._by_rows:
            part.before_move = self._before_move

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook, self._trainer, self._average, self._weights, self._tables = None, None, {}, {}, {}
            for part in self._by_rows:
                part.before_move = None

    def _before_move(self) -> None:
        for table in self._tables.values():
            table.before_step()

    @torch.no_grad()
    def _update(self, *_: Any) -> None:
        assert self._trainer is not None
        share = self.share(self._trainer)
        if share > 0:
            self.count += 1
            average, weights = (
                [kept[name] for name in self._dense] for kept in (self._average, self._weights)
            )
            torch._foreach_lerp_(average, weights, share)
            for table in self._tables.values():
                table.after_step(share)

    def _averaging(self, trainer: Trainer) -> bool:
        return trainer.state.fn == "fit" and self.count > 0

    @torch.no_grad()
    def _exchange(self) -> None:
        for table in self._tables.values():
            table.settle()
        for name, weight in self._weights.items():
            present = weight.clone()
            weight.copy_(self._average[name])
            self._average[name].copy_(present)

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._averaging(trainer):
            self._exchange()

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._averaging(
            trainer
        ):  # before the checkpoint is written: Lightning calls checkpoint callbacks last
            self._exchange()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._averaging(trainer):
            self._exchange()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if self.count:
            tables = {name: table.settled() for name, table in self._tables.items()}
            checkpoint["state_dict"] = {**checkpoint["state_dict"], **self._average, **tables}

    def state_dict(self) -> dict[str, Any]:
        tables = {name: state for name, table in self._tables.items() if (state := table.state_dict())}
        return {
            "count": self.count,
            "weights": dict(self._weights) if self.count else {},
            **({"tables": tables} if tables else {}),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.count, self._restored = state_dict["count"], state_dict


class EMA(WeightAverage):
    """Exponential moving average of the weights: the noise of the last steps averages out.

    Args:
        decay: how much of the average stays in a step. 0.999 looks back about a thousand steps; the first steps look
            back less, (1 + n) / (10 + n), so that the start is forgotten.
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
    """Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407): the equal mean over the end of training.

    Every step counts, not one per epoch. The learning rate stays the schedule's: it should not go to zero there
    (`schedule=constant`), else there is little to average.

    Args:
        start: the fraction of the epochs after which averaging begins.
    """

    def __init__(self, *, start: float = 0.75):
        super().__init__()
        if not 0 <= start < 1:
            raise ValueError(f"start must be in [0, 1), got {start}")
        self.start = start

    def share(self, trainer: Trainer) -> float:
        done = trainer.global_step / trainer.max_steps if trainer.max_steps > 0 else 0.0
        if trainer.max_epochs and trainer.max_epochs > 0:
            done = max(done, trainer.current_epoch / trainer.max_epochs)
        return 1 / (self.count + 1) if done >= self.start else 0.0
