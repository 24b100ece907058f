"""Stops training when the monitored value no longer improves."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping

DEFAULT_PATIENCE = 5
SHARE = 3  # one in three validations of the whole training


class EarlyStopping(LightningEarlyStopping):
    """Applies Lightning's EarlyStopping to the value and direction that the module monitors.

    Args:
        patience: number of consecutive validations without an improvement after which training stops. None follows the
            schedule: 5; and under one that anneals, whose best epochs are its last, a third of all validations if that
            is more.
        min_delta: smallest change that counts as an improvement, in the metric's unit.
    """

    def __init__(self, patience: int | None = None, min_delta: float = 0.0):
        if patience is not None and patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        self._by_schedule = patience is None
        # Check after validation, before the checkpoint is written. A check at the end of the epoch would find no
        # value in a resumed run, which continues after the validation.
        self._options: dict[str, Any] = {
            "patience": patience or DEFAULT_PATIENCE,
            "min_delta": min_delta,
            "check_finite": False,
            "check_on_train_epoch_end": False,
        }
        super().__init__("val/loss", **self._options)

    def follow(self, module: Any, validations: int) -> None:
        """Reset, and monitor the value that `module` monitors in its direction.

        Args:
            module: a module with `monitor`, `mode` and `anneals`.
            validations: the number of validations of the whole training; 0 if it is unknown.
        """
        options = dict(self._options)
        if self._by_schedule and module.anneals:
            options["patience"] = max(DEFAULT_PATIENCE, -(-validations // SHARE))
        super().__init__(module.monitor, mode=module.mode, **options)

    def stops(self, value: float) -> bool:
        """Record the monitored value of a validation and return whether training should stop."""
        return self._evaluate_stopping_criteria(torch.tensor(value))[0]  # in float32, as Lightning logs it

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self.follow(pl_module, planned_validations(trainer))
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self.wait_count >= self.patience:  # the run was killed between the decision to stop and the stop
            trainer.should_stop = True


def planned_validations(trainer: Any) -> int:
    """Return how many validations a training of `trainer.max_epochs` has; 0 where the epochs are not limited."""
    epochs, interval = trainer.max_epochs or 0, trainer.val_check_interval
    if epochs < 0:
        return 0
    if isinstance(interval, float) and interval < 1:
        return int(epochs * max(1, int(1 / interval)))
    return math.ceil(epochs / (trainer.check_val_every_n_epoch or 1))
