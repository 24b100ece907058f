"""Stop at a batch boundary when the scheduler asks to, with everything saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lit_mlfund.callbacks.checkpoints import BestAndLast

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)  # SIGUSR2 is what submitit sends before the time limit


class Preempted(Exception):
    """The run was asked to stop, has saved its state, and can be resumed."""


class PreemptionFlag:
    """Remembers that one of `SIGNALS` came; install it as early as the program can."""

    def __init__(self) -> None:
        self.raised = False

    def install(self) -> PreemptionFlag:
        """Put the handler in place (main thread only: elsewhere Python cannot)."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.raised = True

    def check(self) -> None:
        """Raise `Preempted` between two stages of a run, when a signal came."""
        if self.raised:
            raise Preempted("stopped by a signal between two stages")


class StopOnPreemption(Callback):
    """Saves `last.ckpt` at the first batch boundary after a signal and raises `Preempted`.

    The handler itself only sets a flag: a checkpoint written inside a handler would catch the step half-done.
    Several processes agree on the flag first, since a scheduler may signal only some of them.
    """

    many_steps = True

    def __init__(self, flag: PreemptionFlag, checkpoints: BestAndLast):
        self.flag, self.checkpoints = flag, checkpoints

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # after the last batch comes the validation, which saves by itself and would be skipped on resume
        if not trainer.is_last_batch and self._anyone_signalled(trainer, pl_module):
            self.checkpoints.save_last(trainer)
            raise Preempted(f"stopped by a signal after {trainer.global_step} optimizer steps")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._anyone_signalled(trainer, pl_module):
            raise Preempted(f"stopped by a signal after epoch {trainer.current_epoch + 1}")

    def _anyone_signalled(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        if trainer.world_size == 1:
            return self.flag.raised
        anyone = torch.tensor(float(self.flag.raised), device=pl_module.device)
        torch.distributed.all_reduce(anyone, op=torch.distributed.ReduceOp.MAX)
        return bool(anyone)
