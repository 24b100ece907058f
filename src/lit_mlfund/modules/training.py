"""Takes the optimizer steps of a module, several per call if possible: loss, clipping, optimizer, schedule.

The step is lean by design. `self.log` costs about as much as the step of a small model, so losses and gradient
norms are summed as tensors and read every `log_every_n_steps`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lit_mlfund.data.serving.batch import Batch
from lit_mlfund.datamodules import DataModule
from lit_mlfund.models.inputs import InputEncoder
from lit_mlfund.modules.clipping import clip_norm, clip_value
from lit_mlfund.modules.curvature import Curvature
from lit_mlfund.modules.lean import steps_per_call
from lit_mlfund.modules.sharding import shard, spread_tables
from lit_mlfund.modules.step_statistics import RunningStatistics
from lit_mlfund.modules.steps.guard import StepGuard
from lit_mlfund.modules.steps.joint_draws import draw_jointly
from lit_mlfund.modules.steps.length import num_optimizer_steps
from lit_mlfund.optim import adamw, anneals, parameter_groups

OptimizerFactory = Callable[[Any], torch.optim.Optimizer]
ScheduleFactory = Callable[..., LRScheduler | ReduceLROnPlateau]


class TrainedModule(LightningModule):
    """Trains by the loss of a batch, which a subclass computes (`batch_loss`).

    Args:
        optimizer: called with parameter groups (biases, norms and embedding tables have no decay), such as
            `torch.optim.AdamW` or `functools.partial(torch.optim.SGD, lr=0.1)`. A function with a parameter named
            `module` is called with this module instead. Default: AdamW with its defaults.
        schedule: called with the optimizer, and with the number of optimizer steps if it takes two arguments; None
            keeps the learning rate constant.
    """

    model: nn.Module
    loss: nn.Module
    monitor: str

    def __init__(self, optimizer: OptimizerFactory | None = None, schedule: ScheduleFactory | None = None):
        super().__init__()
        self.optimizer: OptimizerFactory = optimizer or adamw
        self.schedule = schedule
        self.steps_per_call = 1
        self.running = RunningStatistics()
        self.transforms: list[
            Callable[[Any], Any]
        ] = []  # applied to batches on the device: augmentation, mixup
        self.penalties: list[
            Callable[[], Tensor]
        ] = []  # functions of the weights, added to the training loss
        self._clip: float | None = None
        self._sharded = False
        self._curvature: Curvature | None = None
        self._guard: StepGuard | None = None
        self._taken = (
            0  # optimizer steps of this call of `training_step`, which Lightning has not counted yet
        )
        self._interrupted: dict[str, Any] | None = (
            None  # the state of `running` in the checkpoint that is resumed
        )
        self._parameter_cache: tuple[Any, list[nn.Parameter]] = (None, [])

    def batch_loss(self, batch: Any) -> Tensor:
        """Return the scalar training loss of a batch."""
        raise NotImplementedError

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Build the optimizer for the parameters of this module: those of the model and of the loss."""
        if "module" in inspect.signature(self.optimizer).parameters:
            return self.optimizer(self)
        groups = parameter_groups(self, weight_decay=None)
        for group in groups:  # not every optimizer takes names
            group["params"] = [parameter for _, parameter in group["params"]]
        return self.optimizer(groups)

    def make_schedule(self, optimizer: torch.optim.Optimizer, num_steps: int) -> Any:
        """Build the schedule for a training of `num_steps` optimizer steps; None if the rate is constant."""
        if self.schedule is None:
            return None
        parameters = inspect.signature(self.schedule).parameters.values()
        required = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
        return self.schedule(optimizer, num_steps) if len(required) > 1 else self.schedule(optimizer)

    @property
    def anneals(self) -> bool:
        """Return whether the learning rate falls to its end, so that training should not stop long before it."""
        return anneals(self.schedule)

    def configure_model(self) -> None:
        """Shard the model as configured; Lightning calls this in every process, before it builds the optimizer."""
        if self._trainer is None:  # also called in `load_from_checkpoint`
            return
        spread_tables(self.model, self.trainer.strategy.root_device)
        mesh = getattr(self, "_device_mesh", None)
        if mesh is not None and not self._sharded:
            shard(self.model, self.loss, mesh["data_parallel"])
            self._sharded = True

    def on_fit_start(self) -> None:
        """Fit what the model takes from the distribution of the training rows, unless a checkpoint holds it."""
        encoders = [
            part for part in self.model.modules() if isinstance(part, InputEncoder) and not part.fitted
        ]
        if encoders and isinstance(data := self.trainer.datamodule, DataModule):  # type: ignore[attr-defined]
            rows = data.training_inputs()
            for encoder in encoders:
                encoder.fit(rows)

    def use_lean_steps(self, trainer: Trainer) -> None:
        """Take several optimizer steps per call if `trainer` allows it; must be called before `trainer.fit`."""
        self.steps_per_call = steps_per_call(trainer, self, TrainedModule)
        if self.steps_per_call > 1:
            self.automatic_optimization = False
            # Lightning does not clip under manual optimization, and refuses the option
            self._clip, trainer.gradient_clip_val = trainer.gradient_clip_val, None

    def training_step(self, batch: Batch | tuple[Batch, ...], batch_idx: int) -> Tensor | None:
        """Return the loss of a batch, or take the optimizer steps of several batches."""
        if isinstance(batch, tuple):
            self._steps(batch)
            return None
        return self._training_loss(batch)

    def _training_loss(self, batch: Batch) -> Tensor:
        """Return the loss with penalties; the logged loss has none, so that it is comparable with validation's."""
        for transform in self.transforms:
            batch = transform(batch)
        if self._curvature is not None:
            self._curvature.before_step(batch)
        if self._guard is not None:
            self._guard.before_loss(batch)
        loss = self.batch_loss(batch)
        self.running.add_loss(loss.detach())
        if self._guard is not None:
            self._guard.after_loss(loss.detach())
        for penalty in self.penalties:
            loss = loss + penalty()
        return loss

    def _steps(self, batches: tuple[Batch, ...]) -> None:
        """Take one step for each of several batches, as Lightning does for one."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        schedule: Any = self.lr_schedulers()
        by_step = schedule is not None and not isinstance(schedule, ReduceLROnPlateau)
        parameters = self._parameters_of(optimizer)
        plain = type(optimizer).zero_grad is torch.optim.Optimizer.zero_grad
        self._taken = 0
        try:
            for batch in batches:
                loss = self._training_loss(batch)
                if plain:  # the same without the profiler's record
                    for parameter in parameters:
                        parameter.grad = None
                else:
                    optimizer.zero_grad()
                loss.backward()
                self.configure_gradient_clipping(optimizer, self._clip)
                optimizer.step()
                if by_step:
                    schedule.step()
                self._taken += 1
        finally:  # also where a batch raises: how far it came decides what becomes of the run
            progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
            for count in (progress.total, progress.current):
                count.ready += self._taken
                count.completed += self._taken
            self._taken = 0

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients, and record the norm before clipping, which shows whether the learning rate is too high."""
        parameters = self._parameters_of(optimizer)
        by_value = gradient_clip_algorithm == "value"
        limit = float("inf") if not gradient_clip_val or by_value else float(gradient_clip_val)
        norm = clip_norm(parameters, limit)
        if norm is not None and hasattr(norm, "full_tensor"):  # of sharded parameters
            norm = norm.full_tensor()
        if self._guard is not None:
            self._guard.before_step(norm, self.trainer.global_step + self._taken + 1)
        if by_value:
            return clip_value(parameters, float(gradient_clip_val or "inf"))
        if norm is not None:
            self.running.add_norm(norm, limit)

    def _parameters_of(self, optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
        """Return the parameters of `optimizer` in this module's order, not that of the groups.

        `clip_grad_norm_(model.parameters())` of a hand-written loop sums in this order, on which the last bit depends.
        """
        key = (optimizer, len(optimizer.param_groups))
        if self._parameter_cache[0] != key:
            owned = [p for group in optimizer.param_groups for p in group["params"]]
            position = {id(parameter): i for i, parameter in enumerate(self.parameters())}
            self._parameter_cache = key, sorted(owned, key=lambda p: position.get(id(p), len(position)))
        return self._parameter_cache[1]

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer()
        if self.schedule is None:
            return optimizer
        scheduler = self.make_schedule(optimizer, num_optimizer_steps(self.trainer))
        if isinstance(scheduler, ReduceLROnPlateau):
            # `on_validation_epoch_end` steps it after every validation, before the checkpoint; Lightning never does
            never = {"scheduler": scheduler, "interval": "epoch", "frequency": sys.maxsize}
            return [optimizer], [never | ({"monitor": self.monitor} if self.automatic_optimization else {})]
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def _optimizer_mode(self, name: str) -> None:
        """Switch optimizers whose training weights differ from the evaluated ones (schedule-free) to a mode."""
        if self.trainer.state.fn == "fit":
            for optimizer in self.trainer.optimizers:
                getattr(optimizer, name, lambda: None)()

    def on_train_start(self) -> None:
        if self._interrupted is not None:
            self.running.load_state_dict(self._interrupted, self.device)
            self._interrupted = None
        self._curvature = Curvature.of(self, self.trainer.optimizers[0])
        if self.trainer.world_size > 1:
            draw_jointly(self.model, self.trainer.global_rank, self.trainer.world_size)
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        self._guard = StepGuard(self, scaled=scaler is not None, shared=self.trainer.world_size > 1)
        self._optimizer_mode("train")

    def on_train_end(self) -> None:
        self._guard = None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) * self.steps_per_call % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.report_training()

    def report_training(self) -> dict[str, float]:
        """Report the means of loss and gradient norm since the last report, and the rates; return the means.

        Reading them synchronises with the device once. Does nothing without a step since the last report.
        """
        means = self.running.read()
        if means:
            groups = enumerate(self.trainer.optimizers[0].param_groups)
            rates = {
                f"lr/{group.get('name', f'group{number}')}": float(group["lr"]) for number, group in groups
            }
            parts = getattr(self.loss, "parts", {})
            self.report(
                {**means, **{f"train/loss/{name}": float(part) for name, part in parts.items()}, **rates}
            )
        return means

    def report(self, values: dict[str, float]) -> None:
        """Pass values to callbacks and loggers, as `self.log` would at a cost of half a millisecond per value.

        Loggers receive them at the optimizer step; Lightning would count calls of `training_step`.
        """
        trainer = self.trainer
        tensors = torch.tensor(list(values.values()), dtype=torch.get_default_dtype(), device=self.device)
        for metrics in (trainer.callback_metrics, trainer.logged_metrics):
            metrics.update(zip(values, tensors.unbind()))
        for logger in () if trainer.sanity_checking else trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.report_training()  # the steps since the last multiple of log_every_n_steps
        self._optimizer_mode("eval")

    def on_validation_end(self) -> None:  # after the callbacks': checkpoints hold the evaluated weights
        self._optimizer_mode("train")
