"""Schedules the learning rate by optimizer step: pure multipliers, and the schedulers that apply them.

The multiplier of step t (0 … num_steps-1) scales the learning rate *of that step*. Warm-up is linear,
(t+1)/warmup_steps: the first step has a positive rate, and step warmup_steps-1 the full rate. Decay starts there and
reaches `final_fraction` in the last step, num_steps-1; any later steps stay at that value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

ScheduleT = TypeVar("ScheduleT", bound=Callable[..., Any])


def annealing(schedule: ScheduleT) -> ScheduleT:
    """Mark a schedule whose last steps, at low rates, are part of its plan: stopping before them loses the best."""
    schedule.anneals = True  # type: ignore[attr-defined]
    return schedule


def anneals(schedule: Any) -> bool:
    """Return whether a schedule, or the one that a `functools.partial` calls, is marked with `annealing`."""
    return bool(getattr(getattr(schedule, "func", schedule), "anneals", False))


def constant_multiplier(step: int, warmup_steps: int = 0) -> float:
    """Return the multiplier of a linear warm-up to 1, then 1."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0


def linear_multiplier(step: int, num_steps: int, warmup_steps: int = 0, final_fraction: float = 0.0) -> float:
    """Return the multiplier of a linear warm-up to 1, then a linear decay to `final_fraction`."""
    if step < warmup_steps:
        return constant_multiplier(step, warmup_steps)
    return 1.0 - (1.0 - final_fraction) * _progress(step, num_steps, warmup_steps)


def cosine_multiplier(step: int, num_steps: int, warmup_steps: int = 0, final_fraction: float = 0.0) -> float:
    """Return the multiplier of a linear warm-up to 1, then half a cosine down to `final_fraction`.

    Source: Loshchilov & Hutter 2017, eq. 5.
    """
    if step < warmup_steps:
        return constant_multiplier(step, warmup_steps)
    fall = 0.5 * (1.0 - math.cos(math.pi * _progress(step, num_steps, warmup_steps)))
    return 1.0 - (1.0 - final_fraction) * fall


def inverse_sqrt_multiplier(step: int, warmup_steps: int = 0) -> float:
    """Return the multiplier of a linear warm-up to 1, then √(warmup_steps / (step+1)).

    Source: Vaswani et al. 2017, arXiv 1706.03762, eq. 3.
    """
    first = max(warmup_steps, 1)
    return min((step + 1) / first, math.sqrt(first / (step + 1)))


def one_cycle_multiplier(
    step: int, num_steps: int, rise_steps: int, initial_fraction: float = 0.04, final_fraction: float = 0.0
) -> float:
    """Return the multiplier of a half cosine from `initial_fraction` to 1, then one down to `final_fraction`.

    The peak is in step `rise_steps`-1.
    """
    if step < rise_steps - 1:
        rise = 0.5 * (1.0 - math.cos(math.pi * step / (rise_steps - 1)))
        return initial_fraction + (1.0 - initial_fraction) * rise
    fall = 0.5 * (1.0 - math.cos(math.pi * _progress(step, num_steps, rise_steps)))
    return 1.0 - (1.0 - final_fraction) * fall


def _progress(step: int, num_steps: int, warmup_steps: int) -> float:
    """Return the progress of decay: 0 at the end of warm-up, 1 from the last step on; 0 if these coincide."""
    peak = max(warmup_steps - 1, 0)
    return min(1.0, (step - peak) / (num_steps - 1 - peak)) if num_steps - 1 > peak else 0.0


@annealing
def cosine(
    optimizer: Optimizer,
    num_steps: int,
    *,
    warmup_fraction: float = 0.03,
    final_fraction: float = 0.0,
) -> LambdaLR:
    """Create a warm-up followed by half a cosine to zero, the default for training of known length.

    Args:
        optimizer: optimizer, whose groups have their full learning rates.
        num_steps: optimizer steps of the whole training.
        warmup_fraction: share of `num_steps` for warm-up, rounded up to whole steps.
        final_fraction: fraction of the learning rate in the last step.
    """
    warmup = _rounded_up_steps(num_steps, "warmup_fraction", warmup_fraction)
    _check_fraction("final_fraction", final_fraction)
    return LambdaLR(optimizer, lambda step: cosine_multiplier(step, num_steps, warmup, final_fraction))


@annealing
def linear(
    optimizer: Optimizer,
    num_steps: int,
    *,
    warmup_fraction: float = 0.03,
    final_fraction: float = 0.0,
) -> LambdaLR:
    """Create a warm-up followed by a linear decay to zero: for fine-tuning, or to spend less time near the peak.

    Arguments as for `cosine`.
    """
    warmup = _rounded_up_steps(num_steps, "warmup_fraction", warmup_fraction)
    _check_fraction("final_fraction", final_fraction)
    return LambdaLR(optimizer, lambda step: linear_multiplier(step, num_steps, warmup, final_fraction))


def constant(optimizer: Optimizer, num_steps: int, *, warmup_fraction: float = 0.03) -> LambdaLR:
    """Create a warm-up followed by the full rate: for schedule-free optimizers, or to study the learning rate alone.

    Arguments as for `cosine`.
    """
    warmup = _rounded_up_steps(num_steps, "warmup_fraction", warmup_fraction)
    return LambdaLR(optimizer, lambda step: constant_multiplier(step, warmup))


def inverse_sqrt(optimizer: Optimizer, num_steps: int, *, warmup_fraction: float = 0.03) -> LambdaLR:
    """Create a warm-up followed by inverse square root decay: for training that may be extended, as it has no end.

    Arguments as for `cosine`.
    """
    warmup = _rounded_up_steps(num_steps, "warmup_fraction", warmup_fraction)
    return LambdaLR(optimizer, lambda step: inverse_sqrt_multiplier(step, warmup))


@annealing
def one_cycle(
    optimizer: Optimizer,
    num_steps: int,
    *,
    rise_fraction: float = 0.3,
    initial_fraction: float = 0.04,
    final_fraction: float = 0.0,
) -> LambdaLR:
    """Create a one-cycle schedule, a long rise and a longer fall: for few epochs at a high peak rate.

    Source: Smith & Topin 2017, arXiv 1708.07120. Schedules the learning rate only; momentum is unchanged.

    Args:
        optimizer: optimizer, whose groups have their peak learning rates.
        num_steps: optimizer steps of the whole training.
        rise_fraction: share of `num_steps` up to the peak, rounded up to whole steps.
        initial_fraction: fraction of the learning rate in the first step.
        final_fraction: fraction of the learning rate in the last step.
    """
    rise = _rounded_up_steps(num_steps, "rise_fraction", rise_fraction)
    _check_fraction("initial_fraction", initial_fraction)
    _check_fraction("final_fraction", final_fraction)
    return LambdaLR(
        optimizer, lambda step: one_cycle_multiplier(step, num_steps, rise, initial_fraction, final_fraction)
    )


def reduce_on_plateau(
    optimizer: Optimizer,
    num_steps: int | None = None,
    *,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.1,
    patience: int = 3,
    threshold: float = 1e-4,
    min_lr: float = 0.0,
) -> ReduceLROnPlateau:
    """Create a schedule that cuts the rate when the monitored value stalls: for training of unknown length.

    Args:
        optimizer: optimizer, whose groups have their initial learning rates.
        num_steps: ignored; part of the signature of every schedule.
        mode: "min" if a lower monitored value is better, "max" if a higher one; set from `monitor` in runs.
        factor: multiplier of the learning rate in each cut.
        patience: evaluations without a better value before a cut.
        threshold: smallest relative improvement that counts as better.
        min_lr: lower bound of the learning rate.
    """
    return ReduceLROnPlateau(
        optimizer, mode=mode, factor=factor, patience=patience, threshold=threshold, min_lr=min_lr
    )


def _rounded_up_steps(num_steps: int, name: str, fraction: float) -> int:
    """Return `fraction` of `num_steps`, rounded up to whole steps."""
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    _check_fraction(name, fraction)
    return math.ceil(round(fraction * num_steps, 6))  # not 8 for .07 * 100 = 7.000000000000001


def _check_fraction(name: str, fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {fraction}")
