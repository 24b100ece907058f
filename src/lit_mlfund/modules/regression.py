"""Predicts a real number per row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn

from lit_mlfund.data.reading.errors import DataError, name_rows
from lit_mlfund.data.reading.frames import name_of
from lit_mlfund.data.serving.mapped import SAMPLE_ROWS
from lit_mlfund.datamodules import DataModule
from lit_mlfund.losses import MAELoss, MSELoss, QuantileLoss
from lit_mlfund.metrics import Evaluation, evaluate_regression
from lit_mlfund.modules.base import LATER_FORMAT
from lit_mlfund.modules.outputs import PointOutputs
from lit_mlfund.modules.pointwise import PointModule
from lit_mlfund.modules.steps.target_scale import TargetScale, TargetTransform, skewness

HEAVY = 2.0  # skewness of a target from which on the start proposes a transformation that halves it
MEDIANS = (MAELoss, QuantileLoss)  # which a transformation does not move: their predictions are not smeared


class RegressionModule(PointModule):
    """Trains a model that returns values `[B]`.

    With `standardize_target` the loss receives (target - mean) / std, with mean and standard deviation of the
    training split: learning rates and thresholds of a loss (Huber's delta) then do not depend on the target's unit.
    A loss with a log link (Poisson) always receives the target itself. With `target_transform` the loss receives its
    logarithm or the normal quantile of its rank (`TargetScale`), and predictions stay within the range of the training
    targets. Metrics and predictions are in the target's own unit.
    """

    task = "regression"
    metrics: ClassVar[dict[str, str]] = {"rmse": "min", "mae": "min", "r2": "max", "median_ae": "min"}
    figures = ("residuals",)

    def __init__(
        self,
        *args: Any,
        standardize_target: bool = True,
        target_transform: TargetTransform = "none",
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.standardize_target = standardize_target
        self.target_transform = target_transform
        self.log_link = getattr(self.loss, "link", "identity") == "log"
        scaled = standardize_target and not self.log_link
        self.mean, self.std = (self.spec.target_mean, self.spec.target_std) if scaled else (0.0, 1.0)
        if target_transform not in get_args(TargetTransform):
            known = ", ".join(get_args(TargetTransform))
            raise ValueError(f"task.target_transform must be one of {known}, got {target_transform!r}")
        if self.log_link and target_transform != "none":
            raise ValueError(
                f"task.target_transform={target_transform}: this loss takes the logarithm of its prediction for the "
                "output already; use loss=mse, or task.target_transform=none"
            )
        self.scale: TargetScale | None = None
        self._smearing = False

    def init_arguments(self) -> dict[str, Any]:
        options: dict[str, Any] = {"standardize_target": self.standardize_target}
        if self.target_transform != "none":
            options["target_transform"] = self.target_transform
        return {**super().init_arguments(), **options}

    def default_loss(self) -> nn.Module:
        return MSELoss()

    # --- the scale of the target ----------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Fit the transformation of the target, unless that has been done."""
        super().setup(stage)
        if isinstance(data := self.trainer.datamodule, DataModule):  # type: ignore[attr-defined]
            self.fit_target(data)

    def fit_target(self, data: Any) -> str:
        """Fit the transformation of the target on the training split; return what the start says of it."""
        store = data.stores["train"]
        y, name = store.y, self.spec.target
        if self.target_transform == "none":
            return "" if self.log_link else _heavy_tail(y[:: len(y) // SAMPLE_ROWS + 1])
        if self.target_transform == "log" and (negative := (y < 0).nonzero()[:, 0]).numel():
            rows = negative if store.index is None else store.index[negative]
            source = name_of(data.path) if hasattr(data, "path") else type(data).__name__
            raise DataError(
                f"{source}: column {name!r}: task.target_transform=log needs targets of 0 or more, found "
                f"{float(y[negative[0]]):g}: {name_rows(rows.tolist())} of train; task.target_transform=quantile "
                "takes them"
            )
        if self.scale is None:
            self.scale = TargetScale.fit(self.target_transform, y, self.standardize_target)
        scale = self.scale
        seen = "the normal quantile of its rank"
        if scale.kind == "log":
            seen = f"log({name} + 1)" if scale.offset else f"log({name})"
            seen += ", corrected by a smearing factor (Duan 1983)" if self.smears else ""
        return f"trained as {seen}; predictions stay within {scale.low:.4g} … {scale.high:.4g}, the range of train"

    @property
    def smears(self) -> bool:
        """Return whether predictions of logarithms are corrected to be means."""
        return self.target_transform == "log" and not isinstance(self.loss, MEDIANS)

    @property
    def fitted_scale(self) -> TargetScale:
        """Return the transformation; raise RuntimeError before it is fitted."""
        if self.scale is None:
            raise RuntimeError(
                f"target_transform={self.target_transform} is not fitted: pass a data module of lit_mlfund to the "
                "trainer, or call fit_target(data)"
            )
        return self.scale

    def loss_target(self, y: Tensor) -> Tensor:
        return (y - self.mean) / self.std if self.target_transform == "none" else self.fitted_scale.to_loss(y)

    def natural(self, output: Tensor) -> Tensor:
        if self.target_transform != "none":
            return self.fitted_scale.to_unit(output)
        return output.exp() if self.log_link else output * self.std + self.mean

    def scaled(self, value: Tensor) -> Tensor:
        if self.target_transform != "none":
            return self.fitted_scale.to_output(value)
        return value.clamp_min(1e-30).log() if self.log_link else self.loss_target(value)

    def on_validation_epoch_start(self) -> None:
        """Leave the smearing factor out, which is computed anew from the outputs of the epoch."""
        self._smearing = self.smears and self.trainer.state.fn == "fit"
        if self._smearing:
            self.scale = replace(self.fitted_scale, factor=1.0)

    def drain(self) -> tuple[Any, float]:
        outputs, loss = super().drain()
        if self._smearing:
            self._smearing = False
            if torch.isfinite(outputs.output).all():
                self.scale = self.fitted_scale.smeared(outputs.output, outputs.target, outputs.weight)
                outputs = replace(outputs, output=self.scale.corrected(outputs.output))
        return outputs, loss

    # --- checkpoints and reports ----------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self.scale is not None:  # earlier versions would predict on another scale
            checkpoint["lit_mlfund"] |= {"format": LATER_FORMAT, "target_scale": self.scale.to_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint.get("lit_mlfund", {}).get("target_scale")
        if state is not None:
            self.scale = TargetScale.from_dict(state)

    def evaluation(self, values: dict[str, Tensor]) -> Evaluation:
        return evaluate_regression(values["output"], values["target"], values.get("weight"))

    def predictions(self, outputs: PointOutputs) -> dict[str, Any]:
        return {"prediction": outputs.output.cpu().numpy()}


def _heavy_tail(y: Tensor) -> str:
    """Return the transformation to try for training targets with a long tail; empty where they have none."""
    if abs(skew := skewness(y)) < HEAVY:
        return ""
    kind = "log"
    if (
        float(y.min()) < 0
        or abs(skewness((y.double() + (1.0 if float(y.min()) == 0 else 0.0)).log())) > abs(skew) / 2
    ):
        kind = "quantile"
    return f"has a long tail (skewness {skew:.2g}): task.target_transform={kind} may fit it better"
