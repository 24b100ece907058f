"""Fits the module of a run, from its last checkpoint where it is resumed."""

from __future__ import annotations

from collections.abc import Callable

from omegaconf import DictConfig

from lit_mlfund.callbacks.checkpoint_file import holds_training
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.datamodules import DataModule
from lit_mlfund.modules import TaskModule
from lit_mlfund.runs.assembly.objects import Training

Fit = Callable[[DictConfig, Training, TaskModule, DataModule, bool], None]


def fit(config: DictConfig, training: Training, module: TaskModule, data: DataModule, resume: bool) -> None:
    """Train as configured; `resume` continues from `checkpoints/last.ckpt` if there is one.

    Raises:
        ConfigError: that checkpoint does not fit the model.
    """
    if not config.train:
        return
    module.use_lean_steps(training.trainer)
    last = training.checkpoints.last_path
    checkpoint = str(last) if resume and holds_training(last) else None
    try:
        training.trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except RuntimeError as error:
        if checkpoint is None or "loading state_dict" not in str(error):
            raise
        raise ConfigError(
            f"checkpoint: {last} does not fit the configuration in {last.parents[1]}"
        ) from error
