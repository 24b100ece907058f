"""Stops a training behind an optimizer step on a signal, after saving its state."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from lit_mlfund.callbacks.checkpoints import BestAndLast
from lit_mlfund.startup.signals import Stopped, StopRequest


class StopOnSignal(Checkpoint):
    """Saves `last.ckpt` at the first batch boundary after a signal and raises `Stopped`.

    While training, the handler only notes the signal: a checkpoint written inside a handler could capture a
    half-finished step. Distributed processes reduce it first, since a signal may reach only some of them. Lightning
    calls a `Checkpoint` behind all other callbacks, so that theirs of the same moment are in what is saved.
    """

    many_steps = True

    def __init__(self, request: StopRequest, checkpoints: BestAndLast):
        self.request, self.checkpoints = request, checkpoints

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._replace_lightnings_handler()
        self.request.is_deferred = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._replace_lightnings_handler()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._replace_lightnings_handler()

    def _replace_lightnings_handler(self) -> None:
        """Install ours again: Lightning has put its own around it.

        That one would end training before the next batch, in the middle of an optimizer step; with several processes
        it communicates inside the handler.
        """
        if self.request.is_installed:
            self.request.install()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.request.is_deferred = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.request.is_deferred = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Between the batches of one optimizer step there are gradients, which no checkpoint holds. A validation that
        # follows would be skipped on resume; it saves a checkpoint itself, as the end of an epoch does below.
        within_step = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        if not (trainer.is_last_batch or within_step or _validation_follows(trainer, batch_idx)):
            self._stop_if_signalled(trainer, pl_module, save=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._stop_if_signalled(trainer, pl_module, save=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_if_signalled(trainer, pl_module, save=True)

    def _stop_if_signalled(self, trainer: Trainer, pl_module: LightningModule, save: bool) -> None:
        if number := self._signal_of_any_process(trainer, pl_module):
            if save:
                self.checkpoints.save_last(trainer)
            raise Stopped(f"stopped by a signal after {trainer.global_step} optimizer steps", number)

    def _signal_of_any_process(self, trainer: Trainer, pl_module: LightningModule) -> int:
        """Return the number of the signal that a process received, the largest of several; 0 for none."""
        number = self.request.number or 0
        if trainer.world_size == 1:
            return number
        numbers = torch.tensor(float(number), device=pl_module.device)
        torch.distributed.all_reduce(numbers, op=torch.distributed.ReduceOp.MAX)
        return int(numbers)


def _validation_follows(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether a validation is due behind a batch of an epoch."""
    num_batches = batch_idx + 1
    if trainer.check_val_every_n_epoch is None:
        num_batches = trainer.fit_loop.epoch_loop.total_batch_idx + 1
    every = trainer.val_check_batch
    return every is not None and num_batches % every == 0
