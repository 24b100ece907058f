"""Trains one output per row against one target per row, for binary, multi-class and regression tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_mlfund.data.serving.batch import MixedBatch, PointBatch
from lit_mlfund.modules.base import TaskModule
from lit_mlfund.modules.curvature import losses_of_draws
from lit_mlfund.modules.outputs import PointOutputs
from lit_mlfund.modules.steps.members import training_outputs


class PointModule(TaskModule):
    """Trains `model(x)` against `y`; a subclass may compute the loss on another scale than the metrics."""

    def loss_target(self, y: Tensor) -> Tensor:
        """Convert the target to the scale of the loss."""
        return y

    def natural(self, output: Tensor) -> Tensor:
        """Convert the model's output to the unit of metrics and predictions."""
        return output

    def scaled(self, value: Tensor) -> Tensor:
        """Convert a value in the unit of metrics and predictions to that of the model's output."""
        return value

    def blended(self, batch: PointBatch) -> Tensor:
        """Return the model's output, averaged with the trees of the blend if there is one."""
        output: Tensor = self.model(batch.x)
        if self.blend is None:
            return output
        return self.scaled(self.blend(self.natural(output.float()), batch.x))

    def forward(self, batch: PointBatch) -> Tensor:
        return self.natural(self.blended(batch))

    def batch_loss(self, batch: PointBatch) -> Tensor:
        output, batch = training_outputs(self.model, batch)
        if isinstance(batch, MixedBatch):
            # share · loss against y + (1 - share) · loss against the other target
            target, weight = batch.targets_and_weights()
            return self.loss(torch.cat([output, output]), self.loss_target(target), weight=weight)
        return self._loss(output, batch)

    def _loss(self, output: Tensor, batch: PointBatch) -> Tensor:
        if batch.weight is None:  # a loss need not accept weights where there are none
            return self.loss(output, self.loss_target(batch.y))
        return self.loss(output, self.loss_target(batch.y), weight=batch.weight)

    def losses_of_draws(
        self, batch: PointBatch, generator: np.random.Generator
    ) -> tuple[Tensor | None, Tensor | None]:
        output, batch = training_outputs(self.model, batch)
        return losses_of_draws(self.loss, output, generator), batch.weight

    def outputs(self, batch: PointBatch) -> tuple[Tensor, PointOutputs]:
        output = self.blended(batch)
        return self._loss(output, batch), PointOutputs(
            self.natural(output.float()), batch.y, batch.weight, batch.index
        )

    def metric_values(self, outputs: PointOutputs, split: str) -> dict[str, Tensor]:
        values = {"output": outputs.output, "target": outputs.target, "weight": outputs.weight}
        return {name: value for name, value in values.items() if value is not None}

    def references(
        self, data: Any, splits: Sequence[str], seed: int
    ) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
        return self.fitted_references(data, splits, seed)
