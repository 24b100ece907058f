"""Implements evaluation, reports and checkpoints, which all task shapes share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lit_mlfund.config.instantiate import instantiate_own
from lit_mlfund.data.serving.batch import Batch
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.metrics import Evaluation
from lit_mlfund.modules.outputs import Losses, Outputs, join, over_processes
from lit_mlfund.modules.training import OptimizerFactory, ScheduleFactory, TrainedModule
from lit_mlfund.references.blend import Blend

# Raised when an earlier version would read a checkpoint wrongly: one that knows no blend would predict without it.
PLAIN_FORMAT, LATER_FORMAT = 1, 2
CHECKPOINT_FORMAT = LATER_FORMAT  # the latest that is known


class TaskModule(TrainedModule):
    """Trains and evaluates a model for one task shape.

    A subclass computes from a batch its loss (`batch_loss`) and the outputs to keep (`outputs`), from these the values
    that the metrics need (`metric_values`), the metrics (`evaluation`), and the columns of a table of predictions
    (`predictions`). Everything else has a default.

    Args:
        model: any module with the output that the task needs (see the subclass); or, as in checkpoints, the node of a
            configuration that names one of `lit_mlfund.models`. The same holds for the loss.
        loss: one of `lit_mlfund.losses`, or any module with the same `forward`; None uses the default of the task.
        spec: the data module's description of the data.
        optimizer, schedule: as in `TrainedModule`.
        monitor: the value that selects the best checkpoint: `val/loss`, or `val/` and one of `metrics`.
    """

    task: ClassVar[str]
    metrics: ClassVar[dict[str, str]]  # name -> "max" or "min"
    figures: ClassVar[tuple[str, ...]] = ()  # of `reports.pictures`, drawn from a table of predictions
    unit: ClassVar[str] = "rows"  # counted by `predict`

    def __init__(
        self,
        model: nn.Module | Mapping[str, Any],
        loss: nn.Module | Mapping[str, Any] | None = None,
        spec: DataSpec | Mapping[str, Any] | None = None,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        monitor: str = "val/loss",
    ):
        super().__init__(optimizer, schedule)
        if spec is None:
            raise ValueError("spec is required: pass data.spec after data.setup()")
        self.spec = spec if isinstance(spec, DataSpec) else DataSpec.from_dict(dict(spec))
        self.model = model if isinstance(model, nn.Module) else instantiate_own(model, spec=self.spec)
        self.loss = self._build_loss(loss)
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
        self.nodes: dict[str, dict[str, Any]] = {}  # configuration nodes of model and loss
        self.data: Any = None  # the data module, if no trainer holds it
        self.evaluations: dict[str, Evaluation] = {}
        self.measured: dict[str, dict[str, float]] = {}  # logged values by split, in double precision
        self.collected: dict[str, Any] = {}  # outputs by split
        self.blend: Blend | None = None  # averages evaluations and predictions with trees
        self.boosting: Any = None  # the fitted trees of the blend, which are a reference too
        self._buffer: list[Outputs] = []
        self._losses: Losses = []

    def _build_loss(self, loss: nn.Module | Mapping[str, Any] | None) -> nn.Module:
        if loss is None:
            return self.default_loss()
        built: nn.Module = loss if isinstance(loss, nn.Module) else instantiate_own(loss)
        return built

    # --- implemented by subclasses --------------------------------------------------------------------

    def default_loss(self) -> nn.Module:
        """Build the loss that is used if the constructor receives none."""
        raise ValueError(f"loss is required: {type(self).__name__} has no default")

    def outputs(self, batch: Any) -> tuple[Tensor, Any]:
        """Return the loss of an evaluation batch, and the outputs to keep, as an `Outputs`."""
        raise NotImplementedError

    def metric_values(self, outputs: Any, split: str) -> dict[str, Tensor]:
        """Return the values that the metrics are computed from: a few per example, along the first dimension.

        Nothing else is kept of a file that is evaluated piece by piece.
        """
        raise NotImplementedError

    def evaluation(self, values: dict[str, Tensor]) -> Evaluation:
        """Compute the metrics from `metric_values`."""
        raise NotImplementedError

    def predictions(self, outputs: Any) -> dict[str, Any]:
        """Return the columns of a table of predictions: name -> one value per row."""
        raise NotImplementedError

    def count(self, outputs: Any) -> dict[str, int]:
        """Count the evaluated examples, by unit."""
        return {self.unit: len(outputs)}

    def target_columns(self, target: Tensor) -> dict[str, Any]:
        """Return the columns of a table of predictions that show the target."""
        return {"target": target.numpy()}

    def fit_target(self, data: Any) -> str:
        """Fit what training takes from the targets of the training split; return what the start says of the target."""
        return ""

    def undefined_monitor(self, data: Any) -> str | None:
        """Return why the monitored metric is undefined on the validation split; None where it is defined."""
        return None

    def references(
        self, data: Any, splits: Sequence[str], seed: int
    ) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
        """Fit reference models on the training split; yield reference, split and its `metric_values`.

        References are evaluated on the rows in `collected`. A task without references yields nothing.
        """
        yield from ()

    def texts(self) -> dict[str, str]:
        """Return texts to be saved beside the predictions, by name."""
        return {}

    def projection(self, data: Any, most: int) -> tuple[Tensor, list[str]] | None:
        """Return up to `most` vectors for TensorBoard's projector and their names; None if there are none."""
        return None

    def losses_of_draws(
        self, batch: Any, generator: np.random.Generator
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return losses `[N]` against targets drawn from the model's predictions, and weights; None if impossible."""
        return None, None

    def on_train_start(self) -> None:
        """Leave a blend out while the network is trained: one of a checkpoint, from which training goes on."""
        super().on_train_start()
        self.blend = None

    # --- evaluation -----------------------------------------------------------------------------------

    def evaluate(self, outputs: Any, split: str) -> Evaluation:
        """Compute the metrics from the outputs collected over a split."""
        return self.evaluation(self.metric_values(outputs, split))

    def received(self, batch: Any) -> Any:
        """Return a batch as the Trainer hands it over: on the device, and in the precision of the weights."""
        floating = (part.dtype for part in self.model.parameters() if part.is_floating_point())
        return batch.to(self.device).in_precision(next(floating, torch.float32))

    def collect(self, batch: Batch) -> None:
        """Evaluate one batch, wherever it comes from, and keep its loss and outputs."""
        loss, outputs = self.outputs(self.received(batch))
        self._losses.append((loss, outputs.num_losses))  # type: ignore[arg-type]
        self._buffer.append(outputs)

    def drain(self) -> tuple[Any, float]:
        """Return all outputs collected so far on all processes, in the order of the data, and their mean loss."""
        losses = [(float(loss), count) for loss, count in self._losses]
        outputs, losses = over_processes(join(self._buffer) if self._buffer else None, losses)
        self._buffer, self._losses = [], []
        total = sum(count for _, count in losses)
        return outputs, sum(loss * count for loss, count in losses) / max(total, 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the outputs of a batch."""
        self.collect(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the outputs of a batch."""
        self.collect(batch)

    def on_validation_epoch_end(self) -> None:
        self._finish("val")
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            schedule = self.lr_schedulers()
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(self.measured["val"][self.monitor.removeprefix("val/")])

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def _finish(self, split: str) -> None:
        outputs, loss = self.drain()
        if self.trainer.state.fn == "fit" and not torch.isfinite(outputs.output).all():
            raise FloatingPointError(
                f"predictions of the {split} split are not finite at step {self.trainer.global_step}: lower optim.lr "
                "(try a tenth), check trainer.gradient_clip_val, and look for extreme values in the data"
            )
        evaluation = self.evaluate(outputs, split)
        values = {"loss": loss, **evaluation.values()}
        self.collected[split], self.evaluations[split], self.measured[split] = outputs, evaluation, values
        named = {f"{split}/{name}": value for name, value in values.items()}
        if self.trainer.state.fn != "fit":
            self.log_dict(named, rank_zero_only=False)
            return
        self.report(named)
        for logger in () if self.trainer.sanity_checking else self.trainer.loggers:
            logger.log_metrics({"epoch": self.trainer.current_epoch}, step=self.trainer.global_step)
            logger.save()

    # --- tables ---------------------------------------------------------------------------------------

    def prediction_table(self, outputs: Any) -> pl.DataFrame:
        """Return one row per example, or per entry of a list: position, target and prediction."""
        target = self.target_columns(outputs.flat_target())
        return pl.DataFrame({**outputs.row_columns(), **target, **self.predictions(outputs)})

    def predict_rows(self, frame: pl.DataFrame, outputs: Any, first: int) -> pl.DataFrame:
        """Return the rows of a new file in order, each with its prediction; `first` is the number of the first row."""
        predicted = pl.DataFrame(self.predictions(outputs))
        if (order := outputs.file_order()) is not None:
            predicted = predicted[order.numpy()]
        renamed = {name: f"{name}_in_file" for name in predicted.columns if name in frame.columns}
        return frame.rename(renamed).hstack(predicted)

    def fitted_references(
        self, data: Any, splits: Sequence[str], seed: int
    ) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
        """Fit references on the rows or lists of the training split; yield as `references` does.

        Raises:
            RuntimeError: a split was evaluated on other rows than its store holds, so that the references cannot be
                compared.
        """
        from lit_mlfund.references.by_split import fitted_outputs  # imports scikit-learn, which takes a while

        by_name = fitted_outputs(data.spec, data.stores, splits, seed, self.boosting)
        for split in splits:
            store = data.stores[split]
            expected = store.relevance if hasattr(store, "relevance") else store.y
            if not torch.equal(self.collected[split].flat_target(), expected.cpu()):
                raise RuntimeError(f"the {split} split was evaluated on other rows than its store holds")
        for name, by_split in by_name.items():
            for split, output in by_split.items():
                values = torch.as_tensor(output, dtype=torch.float32)
                yield name, split, self.metric_values(self.collected[split].with_flat_output(values), split)

    def init_arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments in plain Python; `load_from_checkpoint` has to be given the others.

        A run adds the nodes of its model and its loss through `nodes`, if they are classes of this project.
        """
        return {"spec": self.spec.to_dict(), "monitor": self.monitor, **self.nodes}

    # --- checkpoints ----------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state from which `load_from_checkpoint` builds this module.

        It is plain tensors and plain Python only, so that `torch.load(weights_only=True)` reads it back.
        """
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = self.init_arguments()
        checkpoint["lit_mlfund"] = {
            "format": PLAIN_FORMAT if self.blend is None else LATER_FORMAT,
            "task": self.task,
            "spec": self.spec.to_dict(),
            "running": self.running.state_dict(),
            **({} if self.blend is None else {"blend": self.blend.state()}),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums of an interrupted training for `on_train_start`, and restore the blend."""
        state = checkpoint.get("lit_mlfund", {})
        self._interrupted = state.get("running")
        self.blend = Blend.from_state(state["blend"], self.spec) if "blend" in state else None
