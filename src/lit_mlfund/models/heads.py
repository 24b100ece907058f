"""Defines the output layer of a model, whose shape follows from the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec


def num_outputs(spec: DataSpec) -> int:
    """Return the number of outputs per example: K for a multi-class task, 1 for every other."""
    return spec.num_classes if spec.task == "multiclass" else 1


class Head(nn.Linear):
    """Maps `[..., D]` to logits `[..., K]` for multi-class data, and to one number `[...]` otherwise.

    Initial outputs are small, about 0.3 for inputs of about 1: the first predictions are then near the uninformed
    ones (probability 1/K, the training mean of a standardised target), and few steps are spent on unlearning random
    ones.
    """

    def __init__(self, in_features: int, spec: DataSpec) -> None:
        super().__init__(in_features, num_outputs(spec))
        self.squeeze = spec.task != "multiclass"
        nn.init.normal_(self.weight, std=0.3 * in_features**-0.5)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        return output.squeeze(-1) if self.squeeze else output
