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

from lit_mlfund.atomic import WriteError, whole_file
from lit_mlfund.callbacks.checkpoint_file import read_checkpoint
from lit_mlfund.config.errors import ConfigError


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
        self._validated_step: int | None = -1
        self._random_state: dict[str, Any] | None = None
        self._resumed = False

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

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._require_folder(trainer)  # before any logger creates it again

    def _require_folder(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and not trainer.fast_dev_run and not self.folder.is_dir():  # type: ignore[attr-defined]
            raise WriteError(
                f"{self.folder} was deleted while the run was at work in it; the run has stopped"
            )

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._validated_step = trainer.global_step
        value = pl_module.measured["val"][pl_module.monitor.removeprefix("val/")]
        improved = self.improved(value, pl_module.mode)
        if improved:
            self.best_value, self.best_step = value, trainer.global_step
        self.save_last(trainer)
        if improved and trainer.is_global_zero:
            _link_or_copy(self.last_path, self.best_path)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Validate where training ends behind the last validation, as by `max_steps` or `max_time`."""
        if _is_ending(trainer) and self._validated_step != trainer.global_step:
            validate_within_fit(trainer)

    def save_last(self, trainer: Trainer) -> None:
        """Write `last.ckpt` now."""
        self._require_folder(trainer)
        trainer.save_checkpoint(self.last_path)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best_value": self.best_value,
            "best_step": self.best_step,
            "validated_step": self._validated_step,
            "random_state": _random_state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_value, self.best_step = state_dict["best_value"], state_dict["best_step"]
        self._validated_step = state_dict.get("validated_step")
        self._random_state = state_dict["random_state"]
        self._resumed = True

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.folder.mkdir(parents=True, exist_ok=True)
        if (
            self._validated_step is None
        ):  # a checkpoint of version 0.1.0, which was written after a validation
            self._validated_step = trainer.global_step
        if self._resumed and trainer.is_global_zero:
            self._reconcile(trainer)
        if self._random_state is not None:
            _set_random_state(self._random_state)
            self._random_state = None

    def _reconcile(self, trainer: Trainer) -> None:
        """Hold `best.ckpt` against what `last.ckpt`, from which training resumes, says of it.

        A kill between the two renames leaves an older `best.ckpt` beside a `last.ckpt` that is the best itself.

        Raises:
            ConfigError: `best.ckpt` is missing, or of another step, and cannot be restored from `last.ckpt`.
        """
        if self.best_value is None:
            return
        held = _step_of(self.best_path)
        if held == self.best_step:
            return
        if self.best_step == trainer.global_step == _step_of(self.last_path):
            _link_or_copy(self.last_path, self.best_path)
            return
        found = "there is none" if held is None else f"{self.best_path} is of step {held}"
        raise ConfigError(
            f"best.ckpt: the best value was reached at step {self.best_step}, but {found}; "
            "put that file back, or repeat the run from the start in a new folder"
        )


def _step_of(path: Path) -> int | None:
    """Return the optimizer step that a checkpoint was written at; None where there is no such file."""
    if not path.is_file():
        return None
    return int(read_checkpoint(path, mmap=True)["global_step"])


def _is_ending(trainer: Any) -> bool:
    """Return whether no epoch follows the current one."""
    out_of_epochs = trainer.max_epochs not in (None, -1) and trainer.current_epoch + 1 >= trainer.max_epochs
    out_of_steps = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
    return not trainer.fast_dev_run and (trainer.should_stop or out_of_epochs or out_of_steps)


def validate_within_fit(trainer: Any) -> None:
    """Run a validation inside `fit`, with its hooks, as Lightning's training loop does between two batches."""
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True


def _link_or_copy(source: Path, target: Path) -> None:
    """Replace `target` by a hard link to `source`, or by a copy where the file system has no hard links."""
    with whole_file(target) as beside:
        try:
            os.link(source, beside)
        except OSError:
            shutil.copyfile(source, beside)


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
