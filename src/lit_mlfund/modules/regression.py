"""Predicts a real number per row."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from lit_mlfund.losses import MSELoss
from lit_mlfund.metrics import Evaluation, evaluate_regression
from lit_mlfund.modules.outputs import PointOutputs
from lit_mlfund.modules.pointwise import PointModule


class RegressionModule(PointModule):
    """Trains a model that returns values `[B]`.

    With `standardize_target` the loss receives (target - mean) / std, with mean and standard deviation of the
    training split: learning rates and thresholds of a loss (Huber's delta) then do not depend on the target's unit.
    A loss with a log link (Poisson) always receives the target itself. Metrics and predictions are in the target's
    own unit.
    """

    task = "regression"
    metrics: ClassVar[dict[str, str]] = {"rmse": "min", "mae": "min", "r2": "max", "median_ae": "min"}
    figures = ("residuals",)

    def __init__(self, *args: Any, standardize_target: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.standardize_target = standardize_target
        self.log_link = getattr(self.loss, "link", "identity") == "log"
        scaled = standardize_target and not self.log_link
        self.mean, self.std = (self.spec.target_mean, self.spec.target_std) if scaled else (0.0, 1.0)

    def init_arguments(self) -> dict[str, Any]:
        return {**super().init_arguments(), "standardize_target": self.standardize_target}

    def default_loss(self) -> nn.Module:
        return MSELoss()

    def loss_target(self, y: Tensor) -> Tensor:
        return (y - self.mean) / self.std

    def natural(self, output: Tensor) -> Tensor:
        return output.exp() if self.log_link else output * self.std + self.mean

    def scaled(self, value: Tensor) -> Tensor:
        return value.clamp_min(1e-30).log() if self.log_link else self.loss_target(value)

    def evaluation(self, values: dict[str, Tensor]) -> Evaluation:
        return evaluate_regression(values["output"], values["target"], values.get("weight"))

    def predictions(self, outputs: PointOutputs) -> dict[str, Any]:
        return {"prediction": outputs.output.cpu().numpy()}
