"""Decides how many optimizer steps one call from Lightning's loop may take, if nothing has to happen in between.

Lightning's loop around a step (hooks, counters, closures, profiler contexts) costs about as much as the
five-line loop on a small model. So the train loader passes a tuple of batches at a time and the module takes
the steps itself. The arithmetic of a step is the same, in the same order: the weights are bit-identical.
Anything that has to see every single step turns this off (`steps_per_call` lists what does).
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import SingleDeviceStrategy

MAX_STEPS = 16  # more hardly helps: the loop's share of the time is then below a tenth

# hooks by which a callback or a module takes part in every single step
STEP_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
MODULE_HOOKS = (*STEP_HOOKS, "backward", "optimizer_step", "optimizer_zero_grad", "lr_scheduler_step")


def steps_per_call(trainer: Any, module: LightningModule, base: type[LightningModule]) -> int:
    """Return how many optimizer steps a call may take; 1 leaves everything to Lightning.

    Several devices, mixed precision, accumulation, limits and validation inside an epoch need Lightning's own
    loop, and so do modules and callbacks that hook into every step. A callback for which one call for several
    steps is enough declares it by `many_steps = True`.

    Args:
        trainer: the trainer that will fit the module.
        module: the module that would take the steps.
        base: our class whose own hooks allow several steps per call.

    Returns:
        The largest divisor of `trainer.log_every_n_steps` up to `MAX_STEPS`, so that values logged every n steps
        are logged at exactly the same steps as without this.
    """
    callbacks = [callback for callback in trainer.callbacks if not getattr(callback, "many_steps", False)]
    plain = (
        type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.precision_plugin) is Precision
        and trainer.accumulate_grad_batches == 1
        and trainer.max_steps == -1
        and trainer.limit_train_batches == 1.0
        and trainer.overfit_batches == 0
        and trainer.val_check_interval in (None, 1.0)
        and trainer.gradient_clip_algorithm != "value"
        and all(_inherits(base, module, hook) for hook in MODULE_HOOKS)
        and all(_inherits(Callback, callback, hook) for callback in callbacks for hook in STEP_HOOKS)
    )
    if not plain:
        return 1
    return max(size for size in range(1, MAX_STEPS + 1) if trainer.log_every_n_steps % size == 0)


def _inherits(base: type, instance: object, hook: str) -> bool:
    return getattr(type(instance), hook) is getattr(base, hook)
