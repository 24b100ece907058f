"""Trains one output per row against one target per row: what binary, multi-class and regression share."""

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


class PointModule(TaskModule):
    """Trains `model(x)` against `y`; a subclass may give the loss another scale than the user sees."""

    def loss_target(self, y: Tensor) -> Tensor:
        """Return the target as the loss sees it."""
        return y

    def natural(self, output: Tensor) -> Tensor:
        """Return the model's output in the unit that metrics and predictions are in."""
        return output

    def forward(self, batch: PointBatch) -> Tensor:
        return self.natural(self.model(batch.x))

    def batch_loss(self, batch: PointBatch) -> Tensor:
        if isinstance(batch, MixedBatch):
            # share · loss against y + (1 - share) · loss against the other target
            output = self.model(batch.x)
            target, weight = batch.targets_and_weights()
            return self.loss(torch.cat([output, output]), self.loss_target(target), weight=weight)
        return self._loss(self.model(batch.x), batch)

    def _loss(self, output: Tensor, batch: PointBatch) -> Tensor:
        if batch.weight is None:  # a loss need not know of weights where there are none
            return self.loss(output, self.loss_target(batch.y))
        return self.loss(output, self.loss_target(batch.y), weight=batch.weight)

    def losses_of_draws(
        self, batch: PointBatch, generator: np.random.Generator
    ) -> tuple[Tensor | None, Tensor | None]:
        return losses_of_draws(self.loss, self.model(batch.x), generator), batch.weight

    def outputs(self, batch: PointBatch) -> tuple[Tensor, PointOutputs]:
        output = self.model(batch.x)
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
