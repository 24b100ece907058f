"""The one training step, shared by every task shape.

The step is lean by design. `self.log` costs about as much as the step of a small model, so losses and gradient
norms are summed as tensors and read every `log_every_n_steps`; predictions are buffered and their metrics are
computed once an epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lit_mlfund.data.serving.batch import Batch
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.metrics import Evaluation
from lit_mlfund.modules.clipping import clip_norm, clip_value
from lit_mlfund.modules.curvature import Curvature
from lit_mlfund.modules.lean import steps_per_call
from lit_mlfund.modules.num_steps import num_optimizer_steps
from lit_mlfund.modules.outputs import Evidence, join, over_processes
from lit_mlfund.modules.sharding import shard, spread_tables
from lit_mlfund.modules.step_statistics import RunningStatistics

OptimizerFactory = Callable[[nn.Module], torch.optim.Optimizer]
ScheduleFactory = Callable[[torch.optim.Optimizer, int], LRScheduler | ReduceLROnPlateau]


class TaskModule(LightningModule):
    """A model, its loss and its optimizer, for one task shape.

    A subclass says how its batch becomes an output (`forward`), a loss (`batch_loss`), something to keep for
    the metrics (`evidence`), the metrics themselves (`evaluate`) and a table of predictions (`predictions`).

    Args:
        model: built from `spec`; its output is the task's (see the subclass).
        loss: one of `lit_mlfund.losses`, or any module with the same `forward`.
        spec: what the data module said of the data.
        optimizer: from this module (model and loss parameters) to a torch optimizer.
        schedule: from the optimizer and the number of optimizer steps to a scheduler; None keeps the rate.
        monitor: what decides which checkpoint is best: `val/loss` or `val/` and one of `metrics`.
    """

    task: ClassVar[str]
    metrics: ClassVar[dict[str, str]]  # name -> "max" or "min"

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        spec: DataSpec,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        monitor: str = "val/loss",
    ):
        super().__init__()
        self.model = model
        self.loss = loss
        self.spec = spec
        self.make_optimizer = optimizer
        self.make_schedule = schedule
        self.monitor = monitor
        name = monitor.removeprefix("val/")
        if not monitor.startswith("val/") or name not in {"loss", *self.metrics}:
            legal = ", ".join(f"val/{known}" for known in ("loss", *self.metrics))
            raise ValueError(f"monitor: {monitor} is not measured for {self.task}; there is {legal}")
        if getattr(loss, "reduction", "mean") == "none":
            raise ValueError(
                "loss: training minimises the mean of a batch, got reduction='none'; use reduction='mean'"
            )
        self.mode = self.metrics.get(name, "min")
        self.data: Any = None  # the data module, where no trainer has one
        self.steps_per_call = 1
        self._clip: float | None = None
        self._sharded = False
        self._curvature: Curvature | None = None
        self._owned: tuple[Any, list[nn.Parameter]] = (None, [])
        self.running = RunningStatistics()
        self.transforms: list[
            Callable[[Any], Any]
        ] = []  # of training batches, on the device: augmentation, mixup
        self.penalties: list[Callable[[], Tensor]] = []  # of the weights, added to the training loss
        self.evaluations: dict[str, Evaluation] = {}
        self.measured: dict[str, dict[str, float]] = {}  # what was logged of a split, in double precision
        self.collected: dict[str, Evidence] = {}
        self._buffer: list[Evidence] = []
        self._losses: list[tuple[Tensor, int]] = []

    # --- what a subclass says -------------------------------------------------------------------------

    def batch_loss(self, batch: Any) -> Tensor:
        """The scalar training loss of a batch."""
        raise NotImplementedError

    def evidence(self, batch: Any) -> tuple[Tensor, Evidence]:
        """The loss of an evaluation batch, and the tensors that the metrics need of it."""
        raise NotImplementedError

    def evaluate(self, evidence: Evidence, split: str) -> Evaluation:
        """The metrics of everything that was collected over a split."""
        raise NotImplementedError

    def losses_of_draws(
        self, batch: Any, generator: np.random.Generator
    ) -> tuple[Tensor | None, Tensor | None]:
        """Losses `[N]` against targets drawn from what the model predicts, with weights; None where it cannot be."""
        return None, None

    def predictions(self, evidence: Evidence) -> dict[str, Any]:
        """Columns of the table of predictions: name -> array of one value per row."""
        raise NotImplementedError

    def configure_model(self) -> None:
        """Shard what is to be sharded; called by Lightning in every process, before the optimizer is made."""
        spread_tables(self.model, self.trainer.strategy.root_device)
        mesh = getattr(self, "_device_mesh", None)
        if mesh is not None and not self._sharded:
            shard(self.model, self.loss, mesh["data_parallel"])
            self._sharded = True

    # --- training -------------------------------------------------------------------------------------

    def use_lean_steps(self, trainer: Trainer) -> None:
        """Take several optimizer steps a call where `trainer` allows it; call it before `trainer.fit`."""
        self.steps_per_call = steps_per_call(trainer, self)
        if self.steps_per_call > 1:
            self.automatic_optimization = False
            # Lightning clips nothing where it does not optimize, and refuses to be asked
            self._clip, trainer.gradient_clip_val = trainer.gradient_clip_val, None

    def training_step(self, batch: Batch | tuple[Batch, ...], batch_idx: int) -> Tensor | None:
        if isinstance(batch, tuple):
            self._steps(batch)
            return None
        return self._training_loss(batch)

    def _training_loss(self, batch: Batch) -> Tensor:
        """What is minimised; what is logged is the loss without penalties, to be compared with validation's."""
        for transform in self.transforms:
            batch = transform(batch)
        if self._curvature is not None:
            self._curvature.before_step(batch)
        loss = self.batch_loss(batch)
        self.running.add_loss(loss.detach())
        for penalty in self.penalties:
            loss = loss + penalty()
        return loss

    def _steps(self, batches: tuple[Batch, ...]) -> None:
        """What Lightning does for a batch, for each of several."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        schedule: Any = self.lr_schedulers()
        by_step = schedule is not None and not isinstance(schedule, ReduceLROnPlateau)
        parameters = self._parameters_of(optimizer)
        plain = type(optimizer).zero_grad is torch.optim.Optimizer.zero_grad
        for batch in batches:
            loss = self._training_loss(batch)
            if plain:  # what it does, without its records for a profiler
                for parameter in parameters:
                    parameter.grad = None
            else:
                optimizer.zero_grad()
            loss.backward()
            self.configure_gradient_clipping(optimizer, self._clip)
            optimizer.step()
            if by_step:
                schedule.step()
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for count in (progress.total, progress.current):
            count.ready += len(batches)
            count.completed += len(batches)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, and keep the norm before clipping: it is what says whether the learning rate is too high."""
        if gradient_clip_algorithm == "value":
            return clip_value(self._parameters_of(optimizer), float(gradient_clip_val or "inf"))
        limit = float("inf") if not gradient_clip_val else float(gradient_clip_val)
        norm = clip_norm(self._parameters_of(optimizer), limit)
        if norm is not None:
            self.running.add_norm(norm, limit)

    def _parameters_of(self, optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
        """The parameters of `optimizer` in this module's order, not that of the groups.

        A hand loop's `clip_grad_norm_(model.parameters())` sums in this order, on which the last bit depends.
        """
        key = (optimizer, len(optimizer.param_groups))
        if self._owned[0] != key:
            owned = [p for group in optimizer.param_groups for p in group["params"]]
            place = {id(parameter): number for number, parameter in enumerate(self.parameters())}
            self._owned = key, sorted(owned, key=lambda p: place.get(id(p), len(place)))
        return self._owned[1]

    def configure_optimizers(self) -> Any:
        if self.make_optimizer is None:
            raise ValueError("this module was built without an optimizer and can only predict")
        optimizer = self.make_optimizer(self)
        if self.make_schedule is None:
            return optimizer
        scheduler = self.make_schedule(optimizer, num_optimizer_steps(self.trainer))
        if isinstance(scheduler, ReduceLROnPlateau):
            return [optimizer], [{"scheduler": scheduler, "interval": "epoch", "monitor": self.monitor}]
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def _optimizer_mode(self, name: str) -> None:
        """Tell optimizers that train other weights than they would serve (schedule-free ones) which are wanted."""
        if self.trainer.state.fn == "fit":
            for optimizer in self.trainer.optimizers:
                getattr(optimizer, name, lambda: None)()

    def on_train_start(self) -> None:
        self._curvature = Curvature.of(self, self.trainer.optimizers[0])
        self._optimizer_mode("train")

    def on_validation_start(self) -> None:
        self._optimizer_mode("eval")

    def on_validation_end(self) -> None:  # behind that of the callbacks: checkpoints hold what was measured
        self._optimizer_mode("train")

    # --- evaluation -----------------------------------------------------------------------------------

    def collect(self, batch: Batch) -> None:
        """Run one evaluation batch and keep what the metrics need."""
        loss, evidence = self.evidence(batch)
        self._losses.append((loss, len(batch)))
        self._buffer.append(evidence)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.collect(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.collect(batch)

    def on_validation_epoch_end(self) -> None:
        self._finish("val")
        if self.steps_per_call > 1 and self.trainer.state.fn == "fit":
            schedule = self.lr_schedulers()
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(self.measured["val"][self.monitor.removeprefix("val/")])

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def _finish(self, split: str) -> None:
        evidence, loss = self.drain()
        evaluation = self.evaluate(evidence, split)
        values = {"loss": loss, **evaluation.values()}
        self.collected[split], self.evaluations[split], self.measured[split] = evidence, evaluation, values
        named = {f"{split}/{name}": value for name, value in values.items()}
        if self.trainer.state.fn == "fit":
            self._tell(named)
        else:  # what is measured after training is no point of its curves
            self.log_dict(named, rank_zero_only=False, logger=False)

    def _tell(self, named: dict[str, float]) -> None:
        """Give callbacks and loggers what `self.log` would, whose bookkeeping takes half a millisecond a number.

        Loggers get it at the optimizer step; Lightning would count calls of `training_step`.
        """
        trainer = self.trainer
        values = torch.tensor(list(named.values()), dtype=torch.get_default_dtype(), device=self.device)
        for metrics in (trainer.callback_metrics, trainer.logged_metrics):
            metrics.update(zip(named, values.unbind()))
        if not trainer.sanity_checking:
            for logger in trainer.loggers:
                told = {**dict(zip(named, values.tolist())), "epoch": trainer.current_epoch}
                logger.log_metrics(told, step=trainer.global_step)
                logger.save()

    def drain(self) -> tuple[Evidence, float]:
        """Everything collected so far on all processes, in the order of the data, and its mean loss."""
        losses = [(float(loss), count) for loss, count in self._losses]
        evidence, losses = over_processes(join(self._buffer), losses)
        self._buffer, self._losses = [], []
        total = sum(count for _, count in losses)
        return evidence, sum(loss * count for loss, count in losses) / max(total, 1)

    # --- checkpoints ----------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Plain tensors and plain Python only, so that `torch.load(weights_only=True)` reads it back."""
        checkpoint["lit_mlfund"] = {"format": 1, "task": self.task, "spec": self.spec.to_dict()}
