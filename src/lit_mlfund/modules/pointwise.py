"""What binary, multi-class and regression share: one target per row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lit_mlfund.data.serving.batch import MixedBatch, PointBatch
from lit_mlfund.modules.base import TaskModule
from lit_mlfund.modules.curvature import losses_of_draws
from lit_mlfund.modules.outputs import Evidence


class PointModule(TaskModule):
    """Trains `model(x)` against `y`; a subclass may give the loss another scale than the user sees."""

    def loss_target(self, y: Tensor) -> Tensor:
        """The target as the loss sees it."""
        return y

    def natural(self, output: Tensor) -> Tensor:
        """The model's output in the unit that metrics and predictions are in."""
        return output

    def forward(self, batch: PointBatch) -> Tensor:
        return self.natural(self.model(batch.x))

    def batch_loss(self, batch: PointBatch) -> Tensor:
        if isinstance(
            batch, MixedBatch
        ):  # share · loss against y + (1 - share) · loss against the other target
            output = self.model(batch.x)
            target, weight = batch.targets_and_weights()
            return self.loss(torch.cat([output, output]), self.loss_target(target), weight=weight)
        return self.loss(self.model(batch.x), self.loss_target(batch.y), weight=batch.weight)

    def losses_of_draws(
        self, batch: PointBatch, generator: np.random.Generator
    ) -> tuple[Tensor | None, Tensor | None]:
        return losses_of_draws(self.loss, self.model(batch.x), generator), batch.weight

    def evidence(self, batch: PointBatch) -> tuple[Tensor, Evidence]:
        output = self.model(batch.x)
        loss = self.loss(output, self.loss_target(batch.y), weight=batch.weight)
        evidence = {"output": self.natural(output.float()), "target": batch.y}
        if batch.weight is not None:
            evidence["weight"] = batch.weight
        if batch.index is not None:
            evidence["index"] = batch.index
        return loss, evidence
