"""Stops training when the monitored value no longer improves."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping


class EarlyStopping(LightningEarlyStopping):
    """Applies Lightning's EarlyStopping to the value and direction that the module monitors.

    Args:
        patience: number of consecutive validations without an improvement after which training stops.
        min_delta: smallest change that counts as an improvement, in the metric's unit.
    """

    def __init__(self, patience: int = 5, min_delta: float = 0.0):
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        # Check after validation, before the checkpoint is written. A check at the end of the epoch would find no
        # value in a resumed run, which continues after the validation.
        self._options: dict[str, Any] = {
            "patience": patience,
            "min_delta": min_delta,
            "check_finite": False,
            "check_on_train_epoch_end": False,
        }
        super().__init__("val/loss", **self._options)

    def follow(self, module: Any) -> None:
        """Reset, and monitor the value that `module` monitors, in its direction."""
        super().__init__(module.monitor, mode=module.mode, **self._options)

    def stops(self, value: float) -> bool:
        """Record the monitored value of a validation and return whether training should stop."""
        return self._evaluate_stopping_criteria(torch.tensor(value))[0]  # in float32, as Lightning logs it

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self.follow(pl_module)
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self.wait_count >= self.patience:  # the run was killed between the decision to stop and the stop
            trainer.should_stop = True
