"""Counts the optimizer steps of a training before it begins."""

from __future__ import annotations

import math
from typing import Any

from lit_mlfund.data.serving.chunks import Chunks


def num_optimizer_steps(trainer: Any) -> int:
    """Return the number of optimizer steps of the whole training, over which schedules are planned.

    Raises:
        ValueError: the training has no end.

    Not `trainer.estimated_stepping_batches`: that sets up the train loader before a checkpoint is restored, and the
    loader would then begin its epoch anew.
    """
    if trainer.datamodule is None:
        return int(trainer.estimated_stepping_batches)
    loader = trainer.datamodule.train_dataloader()
    num_batches = len(loader.loader if isinstance(loader, Chunks) else loader)
    limit = trainer.overfit_batches or trainer.limit_train_batches
    num_batches = int(num_batches * limit) if isinstance(limit, float) else min(num_batches, limit)
    steps = math.ceil(num_batches / trainer.accumulate_grad_batches) * (trainer.max_epochs or -1)
    if trainer.max_steps != -1:
        steps = trainer.max_steps if steps < 0 else min(steps, trainer.max_steps)
    if steps < 0:
        raise ValueError("trainer: a schedule needs an end: set max_epochs or max_steps")
    return steps
