"""Saves the best and the last checkpoint of a run."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint


class BestAndLast(Checkpoint):
    """Saves `best.ckpt` when the monitored value improves, and `last.ckpt` after every validation.

    Unlike Lightning's ModelCheckpoint it does no work in a training step, and at no moment is there no valid
    checkpoint: files are replaced by renaming. Also saves the states of the random generators and restores them on
    resume, so that a resumed run draws the same random numbers as an uninterrupted one.

    Args:
        folder: destination of the two files.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.best_value: float | None = None
        self.best_step = -1
        self._random_state: dict[str, Any] | None = None

    @property
    def best_path(self) -> Path:
        return self.folder / "best.ckpt"

    @property
    def last_path(self) -> Path:
        return self.folder / "last.ckpt"

    def improved(self, value: float, mode: str) -> bool:
        """Return whether `value` is better than the best value so far."""
        if self.best_value is None or math.isnan(self.best_value):
            return True  # always save the first one, even if NaN: the test needs a checkpoint
        return value > self.best_value if mode == "max" else value < self.best_value

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        value = pl_module.measured["val"][pl_module.monitor.removeprefix("val/")]
        improved = self.improved(value, pl_module.mode)
        if improved:
            self.best_value, self.best_step = value, trainer.global_step
        self.save_last(trainer)
        if improved and trainer.is_global_zero:
            _link_or_copy(self.last_path, self.best_path)

    def save_last(self, trainer: Trainer) -> None:
        """Write `last.ckpt` now."""
        trainer.save_checkpoint(self.last_path)

    def state_dict(self) -> dict[str, Any]:
        return {"best_value": self.best_value, "best_step": self.best_step, "random_state": _random_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_value, self.best_step = state_dict["best_value"], state_dict["best_step"]
        self._random_state = state_dict["random_state"]

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._random_state is not None:
            _set_random_state(self._random_state)
            self._random_state = None


def _link_or_copy(source: Path, target: Path) -> None:
    """Replace `target` by a hard link to `source`, or by a copy where the file system has no hard links."""
    temporary = target.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)


def _random_state() -> dict[str, Any]:
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [
            kind,
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    if "cuda" in state and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([part.cpu() for part in state["cuda"]])
