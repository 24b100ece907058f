"""Says why a training ended before its last epoch, and how good it was until then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer

from lit_mlfund.reports.tables import number
from lit_mlfund.runs.assembly.objects import Training


def stop_reason(training: Training, monitor: str, max_time: str | None = None) -> str | None:
    """Return why a training ended early, and its best value; None where it took all its epochs.

    Args:
        training: a training right after its fit.
        monitor: name of the monitored value.
        max_time: the configured limit, as it was given.
    """
    trainer, history, checkpoints = training.trainer, training.progress.history, training.checkpoints
    if history and history[-1]["epoch"] == trainer.max_epochs and _epoch_is_whole(trainer):
        return None
    reason = next(_reasons(trainer, monitor, max_time), None)
    if reason is None:
        return None
    best = [entry for entry in history if entry["step"] == checkpoints.best_step]
    if not best:
        return reason
    return (
        f"{reason}; best {number(checkpoints.best_value)} at epoch {best[-1]['epoch']:.0f} "
        f"of {history[-1]['epoch']:.0f}"
    )


def _epoch_is_whole(trainer: Trainer) -> bool:
    progress = trainer.fit_loop.epoch_loop.batch_progress
    return progress.is_last_batch or not progress.total.ready  # trained elsewhere, epoch by epoch


def _reasons(trainer: Any, monitor: str, max_time: str | None) -> Iterator[str]:
    for callback in trainer.callbacks:
        if isinstance(callback, EarlyStopping) and callback.wait_count >= callback.patience:
            validations = (
                f"{callback.wait_count} validations" if callback.wait_count > 1 else "one validation"
            )
            yield f"no better {monitor} for {validations}"
    if 0 < trainer.max_steps <= trainer.global_step:
        yield f"trainer.max_steps={trainer.max_steps}"
    for timer in trainer.callbacks:
        if isinstance(timer, Timer) and (left := timer.time_remaining()) is not None and left <= 0:
            yield f"trainer.max_time={max_time}"
    for callback in trainer.callbacks:
        if isinstance(callback, EarlyStopping) and trainer.should_stop and callback.stopping_reason_message:
            yield callback.stopping_reason_message.split(" Signaling")[0].rstrip(".")
    if trainer.should_stop:
        yield "by a callback"
