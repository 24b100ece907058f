"""L2 regularization as a penalty in the loss."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lit_mlfund.callbacks.l1 import chosen_weights


class L2(Callback):
    """Adds ½ strength ‖w‖² to the training loss, so that strength · w is part of the gradient.

    Under SGD the same as its weight decay. Under Adam and its kin the gradient is divided by its own size, and a
    weight with large gradients shrinks less: `optim.weight_decay` of `adamw`, which is outside of the gradient, is the
    better choice there (Loshchilov & Hutter 2019). Unlike decay the penalty is clipped with the gradient.

    Args:
        strength: of the penalty. Both act when `optim.weight_decay` is not 0.
        parameters: shell pattern of the names of the weights; biases and other vectors are left alone.
    """

    def __init__(self, *, strength: float = 1e-4, parameters: str = "*"):
        if not strength >= 0:
            raise ValueError(f"strength must not be negative, got {strength}")
        self.strength = strength
        self.parameters = parameters

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._weights = list(chosen_weights(pl_module.model, self.parameters).values())
        pl_module.penalties.append(self.penalty)

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        pl_module.penalties.remove(self.penalty)

    def penalty(self) -> Tensor:
        """½ strength ‖w‖², of the weights as they are now; under FSDP of this process's shards, as its gradient is."""
        weights = [getattr(weight, "to_local", lambda weight=weight: weight)() for weight in self._weights]
        return 0.5 * self.strength * torch.stack([weight.square().sum() for weight in weights]).sum()
