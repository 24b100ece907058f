"""Stops a run at a batch boundary on the scheduler's signal, after saving its state."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lit_mlfund.callbacks.checkpoints import BestAndLast

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)  # submitit sends SIGUSR2 before the time limit


class Preempted(Exception):
    """Signals that the run stopped on request, has saved its state and can be resumed."""


class PreemptionFlag:
    """Records that one of `SIGNALS` arrived; should be installed as early as possible."""

    def __init__(self) -> None:
        self.raised = False
        self.is_installed = False

    def install(self) -> PreemptionFlag:
        """Install the signal handler; do nothing outside the main thread, where Python does not allow it."""
        if threading.current_thread() is threading.main_thread():
            self.is_installed = True
            for number in SIGNALS:
                signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.raised = True

    def check(self) -> None:
        """Raise `Preempted` if a signal arrived; for use between two stages of a run."""
        if self.raised:
            raise Preempted("stopped by a signal between two stages")


class StopOnPreemption(Callback):
    """Saves `last.ckpt` at the first batch boundary after a signal and raises `Preempted`.

    The handler itself only sets a flag: a checkpoint written inside a handler could capture a half-finished step.
    Distributed processes reduce the flag first, since a scheduler may signal only some of them.
    """

    many_steps = True

    def __init__(self, flag: PreemptionFlag, checkpoints: BestAndLast):
        self.flag, self.checkpoints = flag, checkpoints

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning's own SIGTERM handler, which it has put around ours, would end training before the next batch, in
        # the middle of an optimizer step; with several processes it communicates inside the handler.
        if self.flag.is_installed:
            self.flag.install()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The last batch is followed by validation, which saves a checkpoint itself and would be skipped on resume.
        # Between the batches of one optimizer step there are gradients, which no checkpoint holds.
        within_step = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        if trainer.is_last_batch or within_step:
            return
        if self._any_process_signalled(trainer, pl_module):
            self.checkpoints.save_last(trainer)
            raise Preempted(f"stopped by a signal after {trainer.global_step} optimizer steps")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._any_process_signalled(trainer, pl_module):
            raise Preempted(f"stopped by a signal after epoch {trainer.current_epoch + 1}")

    def _any_process_signalled(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        if trainer.world_size == 1:
            return self.flag.raised
        signalled = torch.tensor(float(self.flag.raised), device=pl_module.device)
        torch.distributed.all_reduce(signalled, op=torch.distributed.ReduceOp.MAX)
        return bool(signalled)
