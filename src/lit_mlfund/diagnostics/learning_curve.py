"""Forecasts what more training rows bring, from trainings on parts of them: a power law with an offset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lit_mlfund.diagnostics.evidence import Evidence, LearningCurve, Measure
from lit_mlfund.diagnostics.finding import Finding

EXPONENTS = np.geomspace(0.05, 2, 30)
LEAST_SIZES = 3  # different numbers of rows that a curve is fitted to


def fit_curve(size: Sequence[float], loss: Sequence[float]) -> tuple[float, float, float]:
    """Return `a, b, c` of the least-squares curve `a + b · size**-c` with a, b >= 0 and c among `EXPONENTS`.

    Args:
        size: training rows of each training, at least `LEAST_SIZES` different numbers.
        loss: never negative, smaller is better.
    """
    rows, value = np.asarray(size, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    scale, weight = rows.max(), rows / rows.sum()  # the variance of a training falls with its rows
    power = (rows / scale) ** -EXPONENTS[:, None]  # [C, N]
    mean = (weight * power).sum(1, keepdims=True)
    slope = ((weight * (power - mean) * value).sum(1) / (weight * (power - mean) ** 2).sum(1)).clip(min=0)
    offset = (weight * value).sum() - slope * mean[:, 0]
    through_zero = (weight * power * value).sum(1) / (weight * power**2).sum(1)
    slope = np.where(offset < 0, through_zero, slope)
    offset = offset.clip(min=0)
    best = int((weight * (offset[:, None] + slope[:, None] * power - value) ** 2).sum(1).argmin())
    exponent = float(EXPONENTS[best])
    return float(offset[best]), float(slope[best] * scale**exponent), exponent


def forecast(
    size: Sequence[int], loss: Sequence[float], resampled_RN: np.ndarray, seed: int = 0
) -> tuple[Measure, float]:
    """Return by how much twice the rows lower the loss, and the loss that no number of rows would go below.

    The interval has the spread over test rows, from `resampled_RN`, and that over training rows, from trainings on
    equally many different rows, which is taken to be inversely proportional to their number.

    Args:
        size: training rows of each training; the largest number is doubled.
        loss: of each training on all test rows.
        resampled_RN: the same on R paired resamples of the test rows.

    Raises:
        ValueError: there are fewer than `LEAST_SIZES` different sizes.
    """
    rows = np.asarray(size, dtype=np.float64)
    if len(np.unique(rows)) < LEAST_SIZES:
        raise ValueError(f"a curve needs {LEAST_SIZES} numbers of rows, got {sorted(set(size))}")
    generator, largest = np.random.default_rng(seed), rows.max()
    variance, degrees = _training_variance(rows, np.asarray(loss))
    gains = []
    for values in resampled_RN:
        if not np.isfinite(values).all():
            continue
        spread = np.sqrt(variance * degrees / generator.chisquare(degrees) / rows) if degrees else 0.0
        gains.append(
            _gain(rows, (values + spread * generator.standard_normal(len(rows))).clip(min=0), largest)
        )
    value = _gain(rows, np.asarray(loss), largest)
    low, high = np.quantile(gains, [0.025, 0.975]).tolist() if gains else (np.nan, np.nan)
    return Measure(value, min(low, value), max(high, value)), fit_curve(list(rows), loss)[0]


def _gain(rows: np.ndarray, loss: np.ndarray, largest: float) -> float:
    _, slope, exponent = fit_curve(list(rows), list(loss))
    return float(slope * (largest**-exponent - (2 * largest) ** -exponent))


def _training_variance(rows: np.ndarray, loss: np.ndarray) -> tuple[float, int]:
    """Return the variance of a training's loss times its rows, from trainings on equally many, and its degrees."""
    squares, degrees = 0.0, 0
    for size in np.unique(rows):
        same = loss[rows == size]
        squares += size * float(((same - same.mean()) ** 2).sum())
        degrees += len(same) - 1
    return (squares / degrees if degrees else 0.0), degrees


def learning_curve(evidence: Evidence) -> list[Finding]:
    """Say what twice the training rows would bring, where that was measured."""
    curve: LearningCurve | None = evidence.learning_curve
    if curve is None:
        return []
    rises, largest = evidence.directions.get(curve.metric) == "max", max(curve.rows)
    value = evidence.splits["test"][curve.metric].value
    gain = curve.gain
    better = value + gain.value if rises else value - gain.value
    measured = zip(curve.rows, curve.values)
    return [
        Finding(
            name="learning_curve",
            severity="info",
            symptom=f"Twice the {largest:,} training rows would bring test/{curve.metric} from {value:.4g} to about "
            f"{better:.4g}: better by {gain.value:.2g} ({gain.low:.2g} … {gain.high:.2g}).",
            evidence={
                "gain": gain.to_dict(),
                "limit of any number of rows": curve.limit,
                f"test/{curve.metric} by training rows": [list(point) for point in measured],
            },
        )
    ]
