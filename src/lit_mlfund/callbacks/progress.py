"""Reports training progress to the console and logs training scalars."""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from typing import Any, TextIO

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, Timer

from lit_mlfund.callbacks.trace import Entry, Trace
from lit_mlfund.data.serving.chunks import Chunks
from lit_mlfund.startup.screen import CLEAR, Screen, duration
from lit_mlfund.startup.streams import OUTPUT

LEAST_SEEN = 0.5  # seconds of training from which the rest is estimated


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
        self.latest: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self._trace = Trace()
        self._pace = _Pace()
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
        self._pace = _Pace()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._epoch_started_at = time.perf_counter()
        self._epoch_loss = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        num_done = (batch_idx + 1) * pl_module.steps_per_call
        if num_done % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(trainer, pl_module)
        now = time.perf_counter()
        if now - self._redrawn_at > self.refresh_seconds and not OUTPUT.quiet:
            self._redrawn_at = now
            screen = Screen.of(self.stream)
            if screen.is_live:
                self._write(screen, screen.plain(self._bar(trainer, num_done, now, screen.text_width - 1)))

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
        if trainer.is_global_zero and not OUTPUT.brief:
            screen, figures = Screen.of(self.stream), dict(self.history[-1])
            names = dict.fromkeys(("train/loss", "val/loss", pl_module.monitor))
            seconds = time.perf_counter() - self._epoch_started_at
            parts = [_epoch(trainer)]
            parts += [f"{name} {figures[name]:.4g}" for name in names if name in figures]
            parts.append(f"{seconds:.1f} s")
            while screen.width is not None and len("  ".join(parts)) > screen.width and len(parts) > 2:
                parts.pop(1 if len(parts) > 3 else -1)  # the monitored value is the last to go
            if screen.width is not None and len("  ".join(parts)) > screen.width:
                parts[1:] = [parts[1].rpartition(" ")[2]]
            self._write(screen, "  ".join(parts)[: screen.width], end="\n")

    def _bar(self, trainer: Trainer, num_done: int, now: float, width: int) -> str:
        """Return a line of at most `width` characters: what matters least is left out where there is no room."""
        total = _num_batches(trainer)
        epoch = _epoch(trainer)
        left = self._pace.left(trainer, num_done, total, now)
        loss = f"train/loss {self.latest['train/loss']:.4g}" if "train/loss" in self.latest else ""
        steps = trainer.global_step - self._first_step
        rate = f"{steps / max(now - self._started_at, 1e-9):.0f} steps/s"
        num_done = min(num_done, total)  # the last call of lean steps may take fewer than the others
        count = f"{num_done}/{total}" if total else str(num_done)
        for size in (24, 12) if total else ():
            filled = size * num_done // total
            start = f"{epoch} {'━' * filled}{'╌' * (size - filled)} {count}"
            for parts in ([start, left, loss, rate], [start, left, loss], [start, left]):
                line = "  ".join(filter(None, parts))
                if len(line) <= width and (size == 12 or len(parts) == 4):
                    return line
        for parts in ([f"{epoch} {count}", left], [epoch, left], [epoch.removeprefix("epoch "), left]):
            line = "  ".join(filter(None, parts))
            if len(line) <= width:
                break
        return line[:width]

    def _write(self, screen: Screen, text: str, end: str = "") -> None:
        if OUTPUT.quiet:
            return
        # a full disk below a log, a reader that went away: no reason to stop training
        with suppress(OSError):
            self.stream.write(f"{CLEAR if screen.is_live else ''}{text}{end}")
            self.stream.flush()


def _epoch(trainer: Any) -> str:
    """Return the number of the current epoch, and that of all epochs if it is limited."""
    number = f"epoch {trainer.current_epoch + 1}"
    return f"{number}/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else number


def _num_batches(trainer: Any) -> int:
    """Return the number of batches of an epoch, 0 where it is unknown."""
    loader, number = trainer.train_dataloader, trainer.num_training_batches
    if isinstance(loader, Chunks):  # Lightning counts calls of `training_step`
        return len(loader.loader)
    return int(number) if math.isfinite(number) else 0


class _Pace:
    """Estimates when a training will have reached its last batch, from the batches of this process."""

    def __init__(self) -> None:
        self._started_at: float | None = None
        self._start = 0

    def left(self, trainer: Any, num_done: int, total: int, now: float) -> str:
        """Return the time that is left, such as `4 min left`; empty where no end is known or too little was seen.

        Early stopping may end the training sooner.
        """
        done = trainer.current_epoch * total + num_done
        if self._started_at is None:
            self._started_at, self._start = now, done
        ends = [
            trainer.max_epochs * total if (trainer.max_epochs or -1) > 0 else 0,
            trainer.max_steps * trainer.accumulate_grad_batches if trainer.max_steps > 0 else 0,
        ]
        seconds = [timer.time_remaining() for timer in trainer.callbacks if isinstance(timer, Timer)]
        if (elapsed := now - self._started_at) > LEAST_SEEN and done > self._start:
            pace = elapsed / (done - self._start)
            seconds += [max(end - done, 0) * pace for end in ends if end]
        known = [value for value in seconds if value is not None]
        return f"{duration(min(known))} left" if known else ""
