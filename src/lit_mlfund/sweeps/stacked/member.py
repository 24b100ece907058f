"""Represents one run of a stacked sweep: its initial state, and the results for its run folder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch
import torch
from omegaconf import DictConfig
from torch import Tensor

from lit_mlfund.atomic import whole_file
from lit_mlfund.callbacks import BestAndLast, EarlyStopping, TrainingDiverged
from lit_mlfund.callbacks.trace import Trace
from lit_mlfund.config.instantiate import instantiate
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.datamodules import DataModule
from lit_mlfund.modules import TaskModule
from lit_mlfund.runs.assembly.objects import Training, build_data, build_module

Weights = dict[str, Tensor]


@dataclass
class Member:
    """Holds a configuration, its module, and the history of its training.

    module      its parameters become rows of the stacked ones
    generator   draws its dropout as torch's own generator would in a run of its own
    loader      determines the order of its batches
    entries     logged values, each with its step
    failure     why its training failed; empty if it did not
    """

    config: DictConfig
    module: TaskModule
    generator: torch.Generator
    loader: BatchLoader[Any]
    stopper: EarlyStopping | None
    best: BestAndLast
    history: list[dict[str, float]] = field(default_factory=list)
    trace: Trace = field(default_factory=Trace)
    entries: list[tuple[dict[str, float], int]] = field(default_factory=list)
    best_weights: Weights = field(default_factory=dict)
    last_weights: Weights = field(default_factory=dict)
    optimizer_state: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    step: int = 0
    failure: str = ""
    epoch_loss: list[tuple[float, int]] = field(default_factory=list)

    @classmethod
    def of(cls, config: DictConfig, data: DataModule) -> Member:
        """Create a member as a separate run would start: the model from its seed, the generator as that leaves it."""
        module = build_module(config, data.spec)
        generator = torch.Generator()
        generator.set_state(torch.get_rng_state())
        loader = BatchLoader(
            data.stores["train"], data.batch_size, shuffle=True, seed=build_data(config).seed
        )
        callbacks = [instantiate(node) for node in config.callbacks.values() if node is not None]
        stopper = next((callback for callback in callbacks if isinstance(callback, EarlyStopping)), None)
        if stopper is not None:
            stopper.follow(module, config.trainer.max_epochs)
        return cls(config, module, generator, loader, stopper, BestAndLast("."))

    def weights(self) -> Weights:
        """Copy the current weights."""
        return {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def record_steps(self, values: dict[str, float], num_steps: int, rates: dict[str, float]) -> None:
        """Record the losses and gradient norms of the last `num_steps` steps."""
        self.trace.add({"step": self.step, "num_steps": num_steps, **values})
        if not math.isfinite(values["train/loss"]):
            self.failure = str(TrainingDiverged.at(values["train/loss"], self.step))
        self.epoch_loss.append((values["train/loss"], num_steps))
        self.entries.append((values | rates, self.step))

    def record_epoch(self, epoch: int, values: dict[str, float]) -> bool:
        """Record the validation results of an epoch and return whether training continues."""
        name = self.module.monitor.removeprefix("val/")
        stops = self.stopper is not None and self.stopper.stops(values[name])
        if self.best.improved(values[name], self.module.mode):
            self.best.best_value, self.best.best_step = values[name], self.step
            self.best_weights = self.weights()
        entry: dict[str, float] = {"epoch": epoch, "step": self.step}
        total = sum(steps for _, steps in self.epoch_loss)
        if total:
            entry["train/loss"] = sum(loss * steps for loss, steps in self.epoch_loss) / total
        named = {f"val/{name}": value for name, value in values.items()}
        self.history.append(entry | named)
        self.entries.append((named, self.step))
        self.epoch_loss = []
        return not stops

    def hand_over(
        self, config: DictConfig, training: Training, module: TaskModule, data: DataModule, resume: bool
    ) -> None:
        """Replace the fit of a run: restore history, checkpoints and weights; TrainingDiverged if it diverged."""
        training.progress.load_state_dict({"history": self.history, "steps": self.trace.entries})
        training.checkpoints.best_value = self.best.best_value
        training.checkpoints.best_step = self.best.best_step
        for callback in training.configured:
            if isinstance(callback, EarlyStopping) and self.stopper is not None:
                callback.load_state_dict(self.stopper.state_dict())
        for logger in training.trainer.loggers:
            for values, step in self.entries:
                logger.log_metrics(values, step=step)
        if self.failure:
            raise TrainingDiverged(self.failure)
        for weights, step, path in (
            (self.best_weights, self.best.best_step, training.checkpoints.best_path),
            (self.last_weights, self.step, training.checkpoints.last_path),
        ):
            module.load_state_dict(weights)
            _save(module, data, len(self.history), step, path)
        optimizer = module.make_optimizer()
        for name, parameter in module.named_parameters():
            optimizer.state[parameter] = self.optimizer_state[name]
        training.trainer.strategy.optimizers = [optimizer]
        loop = training.trainer.fit_loop.epoch_loop
        loop.automatic_optimization.optim_progress.optimizer.step.total.completed = self.step


def _save(module: TaskModule, data: DataModule, epoch: int, step: int, path: Path) -> None:
    """Save a checkpoint for evaluation and serving; it lacks the optimizer's state for resumed training."""
    checkpoint: dict[str, Any] = {
        "epoch": epoch,
        "global_step": step,
        "pytorch-lightning_version": lightning.pytorch.__version__,
        "state_dict": module.state_dict(),
        type(data).__qualname__: data.state_dict(),
    }
    module.on_save_checkpoint(checkpoint)
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as beside:
        torch.save(checkpoint, beside)
