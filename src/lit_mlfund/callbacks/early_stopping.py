"""Stop when the monitored value no longer improves."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping


class EarlyStopping(LightningEarlyStopping):
    """Lightning's EarlyStopping on the module's own monitored value and direction.

    Args:
        patience: how many validations in a row without an improvement end the training.
        min_delta: the smallest change that counts as an improvement, in the metric's unit.
    """

    def __init__(self, patience: int = 5, min_delta: float = 0.0):
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        # Checked after validation, before the checkpoint is written: at the end of the epoch a resumed run,
        # which goes on behind the validation, would have nothing to look at.
        self._options: dict[str, Any] = {
            "patience": patience,
            "min_delta": min_delta,
            "check_finite": False,
            "check_on_train_epoch_end": False,
        }
        super().__init__("val/loss", **self._options)

    def follow(self, module: Any) -> None:
        """Take the monitored value and its direction from `module`, and begin anew."""
        super().__init__(module.monitor, mode=module.mode, **self._options)

    def stops(self, value: float) -> bool:
        """Whether training ends after a validation with this monitored value, which is taken note of."""
        return self._evaluate_stopping_criteria(torch.tensor(value))[0]  # in float32, as Lightning logs it

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self.follow(pl_module)
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self.wait_count >= self.patience:  # killed between the decision to stop and the stop
            trainer.should_stop = True
