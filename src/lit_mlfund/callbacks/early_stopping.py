"""Stop when the monitored value no longer improves."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
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
        super().__init__(monitor="val/loss", patience=patience, min_delta=min_delta, check_finite=False)
        self._arguments = {"patience": patience, "min_delta": min_delta}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().__init__(pl_module.monitor, mode=pl_module.mode, check_finite=False, **self._arguments)
        super().setup(trainer, pl_module, stage)
