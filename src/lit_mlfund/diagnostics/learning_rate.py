"""Recommends a learning rate from a range test: losses of training steps whose rate grew at each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH = 5.0  # standard deviation of the smoothing Gaussian, in steps
START = 0.15  # initial share of the test, at tiny rates, that shows the loss before training
NEAR = 15  # steps around the lowest loss from which its noise is estimated
LEAST_FALL = 4.0  # standard errors by which a smoothed value must lie below the start
SAFETY = 10.0  # ratio of a rate that is too high to the recommended one


@dataclass(frozen=True)
class Recommendation:
    """Holds a learning rate, the reason for it, and the curve that it was read from.

    lr            rounded to two digits
    reason        one sentence for a person
    lowest_at     the rate at which the smoothed loss was lowest
    steepest_at   the rate at which it fell fastest
    smoothed      the smoothed losses
    """

    lr: float
    reason: str
    lowest_at: float
    steepest_at: float
    smoothed: list[float]


def smooth(losses: NDArray[np.float64], width: float = WIDTH) -> NDArray[np.float64]:
    """Return the Gaussian mean around each step, `width` steps wide; at the ends, over the steps there are."""
    step = np.arange(len(losses))
    weight = np.exp(-0.5 * ((step[:, None] - step) / width) ** 2)
    smoothed: NDArray[np.float64] = weight @ losses / weight.sum(1)
    return smoothed


def recommend(rates: list[float], losses: list[float]) -> Recommendation:
    """Recommend a tenth of the rate with the lowest smoothed loss (Smith 2017, arXiv 1506.01186; fast.ai's rule).

    Where the loss is lowest it is about to rise: gradient noise and curvature have caught up. At a tenth of that
    rate the loss still falls fast, and training stays stable to its end.

    Args:
        rates: learning rate of each step, growing by a constant factor.
        losses: training loss of each step; those that are not finite count as very large.

    Raises:
        ValueError: the loss neither fell nor rose by more than its noise, or there are fewer than 20 steps.
    """
    if len(losses) < 20 or len(losses) != len(rates):
        raise ValueError(f"a range test needs 20 steps or more, got {len(losses)}")
    lr, raw = np.array(rates), np.array(losses)
    head = raw[: max(5, int(START * len(raw)))]
    before = float(np.mean(head))
    if not np.isfinite(before):
        raise ValueError("the loss is not finite at the lowest rate already: look at the data and the loss")
    # a single exploding loss must not distort its neighbours
    ceiling = before + 2 * max(before - float(np.nanmin(raw)), float(np.std(head)))
    smoothed = smooth(np.clip(np.nan_to_num(raw, nan=ceiling, posinf=ceiling), None, ceiling))
    lowest = int(np.argmin(smoothed))
    near = slice(max(0, lowest - NEAR), lowest + NEAR)
    noise = float(np.std((raw - smoothed)[near][np.isfinite(raw[near]) & (raw[near] < ceiling)]))
    error = noise / np.sqrt(
        2 * np.sqrt(np.pi) * WIDTH
    )  # standard error of a Gaussian mean of independent values
    slope = np.gradient(smoothed)
    steepest = int(np.argmin(slope[: lowest + 1]))
    rose = np.flatnonzero(smoothed > before + LEAST_FALL * error)
    if before - smoothed[lowest] > max(LEAST_FALL * error, 1e-9 * abs(before)):
        too_high = lr[lowest]
        reached = f"{smoothed[lowest]:.4g} from {before:.4g}"
        reason = f"a tenth of {too_high:.1e}, where the smoothed loss was lowest ({reached})"
        if lowest >= len(lr) - 2:
            reason += "; it was still falling at the highest rate tried"
    elif len(rose):
        too_high = lr[rose[0]]
        reason = f"the loss did not fall at any rate; a tenth of {too_high:.1e}, where it began to rise"
    else:
        raise ValueError(
            f"the loss neither fell nor rose by more than its noise ({error:.2g}) between the rates {lr[0]:.0e} and "
            f"{lr[-1]:.0e}: set optim.lr by hand, and see whether the model can learn these data at all"
        )
    return Recommendation(
        lr=float(f"{too_high / SAFETY:.1e}"),
        reason=reason,
        lowest_at=float(lr[lowest]),
        steepest_at=float(lr[steepest]),
        smoothed=smoothed.tolist(),
    )
