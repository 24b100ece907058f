"""Implements L2 regularization as a penalty in the loss."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lit_mlfund.callbacks.l1 import select_weights


class L2(Callback):
    """Adds ½ strength ‖w‖² to the training loss, so that strength · w is part of the gradient.

    With SGD this equals its weight decay. Adam and its variants divide the gradient by its own magnitude, so that
    weights with large gradients shrink less: there the decoupled `optim.weight_decay` of `adamw` is the better choice
    (Loshchilov & Hutter 2019). Unlike weight decay, the penalty's gradient is clipped with the rest.

    Args:
        strength: of the penalty, which adds to `optim.weight_decay` if that is not 0.
        parameters: shell pattern of the names of the weights; biases and other vectors are not penalized.
    """

    def __init__(self, *, strength: float = 1e-4, parameters: str = "*"):
        if not strength >= 0:
            raise ValueError(f"strength must not be negative, got {strength}")
        self.strength = strength
        self.parameters = parameters

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._weights = list(select_weights(pl_module.model, self.parameters).values())
        pl_module.penalties.append(self.penalty)

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        pl_module.penalties.remove(self.penalty)

    def penalty(self) -> Tensor:
        """Return ½ strength ‖w‖² of the current weights; under FSDP of this process's shards, as its gradient is."""
        weights = [getattr(weight, "to_local", lambda weight=weight: weight)() for weight in self._weights]
        return 0.5 * self.strength * torch.stack([weight.square().sum() for weight in weights]).sum()
