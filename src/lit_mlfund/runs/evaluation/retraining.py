"""Trains a configuration once more, without a run folder, and evaluates it like a run."""

from __future__ import annotations

import copy
import io
import tempfile
from pathlib import Path

import torch
from omegaconf import DictConfig

from lit_mlfund.callbacks import Progress
from lit_mlfund.datamodules import DataModule
from lit_mlfund.modules import TaskModule
from lit_mlfund.runs.assembly.budget import apply_budget
from lit_mlfund.runs.assembly.objects import build_module, build_trainer
from lit_mlfund.runs.evaluation.measure import measure_outputs


def retrained(config: DictConfig, data: DataModule, split: str = "test") -> TaskModule:
    """Return a module that was trained from scratch, with `collected` and `evaluations` of a split.

    Numbers that follow from the training rows are those of `data`. Nothing is printed, logged or kept on the disk, and
    the state of torch's random numbers is restored. A signal stops the training behind its step.

    Args:
        config: of a run in one process; not changed.
        data: a data module, set up.

    Raises:
        TrainingDiverged, FloatingPointError: loss, gradient or predictions were no longer finite.
    """
    config = copy.deepcopy(config)
    config.logger = {}
    apply_budget(config, data)
    state, trainer = torch.get_rng_state(), data.trainer
    with tempfile.TemporaryDirectory() as folder:
        try:
            module = build_module(config, data.spec)
            training = build_trainer(config, Path(folder), progress=Progress(stream=io.StringIO()))
            module.use_lean_steps(training.trainer)
            training.trainer.fit(module, datamodule=data)
            checkpoints = training.checkpoints
            chosen = {"best": checkpoints.best_path, "last": checkpoints.last_path}
            path = chosen[config.get("checkpoint", "best")]
            measure_outputs(training.trainer, module, data, str(path), split)
        finally:
            data.trainer = trainer
            torch.set_rng_state(state)
    return module
