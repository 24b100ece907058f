"""Reports training progress to the console and logs training scalars."""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from typing import Any, TextIO

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from lit_mlfund.callbacks.trace import Entry, Trace


class TrainingDiverged(Exception):
    """Signals that the training loss is no longer finite."""

    @classmethod
    def at(cls, loss: float, step: int) -> TrainingDiverged:
        """Create the error for a non-finite `loss` at `step`, with remedies in its message."""
        return cls(
            f"the training loss is {loss} at step {step}: lower optim.lr (try a tenth), check "
            "trainer.gradient_clip_val, and look for extreme values in the data"
        )


class Progress(Callback):
    """Prints one line per epoch and, on a terminal, a progress bar that is redrawn by time, not by step.

    Every `trainer.log_every_n_steps` steps it reads the module's running sums (one synchronisation), logs them with
    the learning rate of each parameter group, and raises `TrainingDiverged` if the loss is not finite.

    Args:
        refresh_seconds: minimum time between two redraws on a terminal.
        stream: output stream; standard error by default, which leaves standard output to results.
    """

    many_steps = True

    def __init__(self, refresh_seconds: float = 0.2, stream: TextIO | None = None):
        self.refresh_seconds = refresh_seconds
        self.stream = stream or sys.stderr
        self.is_terminal = self.stream.isatty()
        self.latest: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self._trace = Trace()
        self._redrawn_at = self._started_at = self._epoch_started_at = 0.0
        self._resumed_seconds = 0.0
        self._first_step = 0
        # mean and number of steps of each reading since the start of the epoch
        self._epoch_loss: list[tuple[float, int]] = []

    @property
    def steps(self) -> list[Entry]:
        """Return the recorded loss and gradient norms by step."""
        return self._trace.entries

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": self.history,
            "steps": self.steps,
            "epoch_loss": self._epoch_loss,
            "epoch_seconds": time.perf_counter() - self._epoch_started_at,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = state_dict["history"]
        self._trace = Trace(entries=state_dict.get("steps", ()))
        self._epoch_loss = list(state_dict.get("epoch_loss", ()))  # of the epoch in which training resumes
        self._resumed_seconds = float(state_dict.get("epoch_seconds", 0.0))

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._started_at = time.perf_counter()
        self._epoch_started_at = self._started_at - self._resumed_seconds
        self._first_step = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._epoch_started_at = time.perf_counter()
        self._epoch_loss = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        num_done = (batch_idx + 1) * pl_module.steps_per_call
        if num_done % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(trainer, pl_module)
        if self.is_terminal:
            now = time.perf_counter()
            if now - self._redrawn_at > self.refresh_seconds:
                self._redrawn_at = now
                self._draw(
                    trainer, num_done, int(trainer.num_training_batches * pl_module.steps_per_call), now
                )

    def _log(self, trainer: Trainer, pl_module: Any) -> None:
        num_steps = pl_module.running.num_steps
        values = pl_module.report_training()
        if not values:
            return
        loss = values.get("train/loss", 0.0)
        self._trace.add({"step": trainer.global_step, "num_steps": num_steps, **values})
        if not math.isfinite(loss):
            raise TrainingDiverged.at(loss, trainer.global_step)
        self.latest = values
        self._epoch_loss.append((loss, num_steps))

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        # Log the steps since the last multiple of log_every_n_steps now: a diverged run must stop before metrics
        # are computed, which do not accept its outputs.
        if trainer.state.fn == "fit":
            self._log(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn != "fit":
            return
        entry: dict[str, float] = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        num_steps = sum(steps for _, steps in self._epoch_loss)
        if num_steps:
            entry["train/loss"] = sum(loss * steps for loss, steps in self._epoch_loss) / num_steps
        self.history.append(
            entry | {f"val/{name}": value for name, value in pl_module.measured["val"].items()}
        )
        if trainer.is_global_zero:
            names = dict.fromkeys(("train/loss", "val/loss", pl_module.monitor))
            figures = [f"{name} {self.history[-1][name]:.4g}" for name in names if name in self.history[-1]]
            seconds = time.perf_counter() - self._epoch_started_at
            self._write(
                "  ".join(
                    [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", *figures, f"{seconds:.1f} s"]
                )
                + "\n"
            )

    def _draw(self, trainer: Trainer, num_done: int, total: int, now: float) -> None:
        filled = 24 * num_done // total
        steps = trainer.global_step - self._first_step
        rate = steps / max(now - self._started_at, 1e-9)
        loss = f"  train/loss {self.latest['train/loss']:.4g}" if "train/loss" in self.latest else ""
        bar = "━" * filled + "╌" * (24 - filled)
        self._write(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} {bar} {num_done}/{total}{loss}  {rate:.0f} steps/s"
        )

    def _write(self, text: str) -> None:
        with suppress(
            OSError
        ):  # a full disk below a log, a reader that went away: no reason to stop training
            self.stream.write(f"\r\x1b[2K{text}" if self.is_terminal else text)
            self.stream.flush()
