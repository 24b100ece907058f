"""Finds labels that contradict sure predictions, and rows that carry most of the loss."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats

from lit_mlfund.diagnostics.measures.data_evidence import Heavy, Noise
from lit_mlfund.diagnostics.measures.interval import Measure
from lit_mlfund.diagnostics.measures.probe import CrossFit
from lit_mlfund.diagnostics.measures.rows import Predictions, Sample, losses

BINS = 40
MOST_WRONG = 0.45
SURE = 0.9  # probability of the other class without wrong labels, from which a row is suspect
FEWEST = 200  # rows
MOST_NAMED = 20
HALF = 0.5


def margins(output: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance between the two most probable classes, in logits, and whether the label is the first one."""
    if output.ndim == 1:
        return np.abs(output), (output > 0) == (y == 1)
    ordered = np.sort(output, axis=1)
    return ordered[:, -1] - ordered[:, -2], output.argmax(1) == y


def wrong_share(margin: np.ndarray, agrees: np.ndarray) -> tuple[Measure, float, np.ndarray]:
    """Fit P(label agrees | margin m) = (1 − e) σ(a m + b), and return e, its statistic and the probability without e.

    Where classes overlap, the largest margins are hardly ever wrong, and e is 0; labels that are wrong at random are
    wrong at any margin. The interval is that of the profile likelihood.
    """
    order = np.argsort(margin, kind="stable")
    parts = np.array_split(order, min(BINS, max(2, len(order) // 10)))
    m = np.array([margin[part].mean() for part in parts])
    hits = np.array([agrees[part].sum() for part in parts], dtype=float)
    rows = np.array([len(part) for part in parts], dtype=float)
    scale = float(m.mean()) or 1.0

    def minus_log_likelihood(parameters: np.ndarray, e: float) -> float:
        right = ((1 - e) / (1 + np.exp(-(np.exp(parameters[0]) * m / scale + parameters[1])))).clip(
            1e-9, 1 - 1e-9
        )
        return float(-(hits * np.log(right) + (rows - hits) * np.log(1 - right)).sum())

    grid = np.linspace(0.0, MOST_WRONG, 31)
    start, values, fitted = np.zeros(2), [], []
    for e in grid:
        best = optimize.minimize(
            minus_log_likelihood, start, args=(e,), method="BFGS", options={"maxiter": 50}
        )
        start = best.x if np.isfinite(best.x).all() and np.abs(best.x).max() < 20 else np.zeros(2)
        values.append(float(best.fun))
        fitted.append(best.x)
    at = int(np.argmin(values))
    inside = grid[np.array(values) <= values[at] + stats.chi2.ppf(0.95, 1) / 2]
    a, b = fitted[at]
    probability = 1 / (1 + np.exp(-(np.exp(min(a, 20.0)) * margin / scale + b)))
    share = Measure(float(grid[at]), float(inside.min()), float(inside.max()))
    return share, 2 * (values[0] - values[at]), probability


def label_noise(sample: Sample, fit: CrossFit) -> Noise | None:
    """Look for wrong labels among the training rows, each judged by probes that have not seen it."""
    train = sample.rows["train"]
    if sample.num_classes < 2 or len(train) < FEWEST:
        return None
    margin, agrees = margins(fit.held_out, train.y)
    share, statistic, probability = wrong_share(margin, agrees)
    suspects = np.flatnonzero(~agrees & (probability >= SURE))
    worst = suspects[np.argsort(-margin[suspects], kind="stable")][:MOST_NAMED]
    model = Measure(math.nan)
    known = [
        part for part in (sample.predictions.get(split) for split in ("val", "test")) if part is not None
    ]
    if known:
        pairs = [margins(part.output, part.y) for part in known]
        both = [np.concatenate([pair[side] for pair in pairs]) for side in (0, 1)]
        if len(both[0]) >= FEWEST // 2:
            model = wrong_share(both[0], both[1])[0]
    return Noise(share, statistic, model, len(train), len(suspects), train.index[worst].tolist())


def heavy_rows(predicted: Predictions, split: str, num_classes: int, floor: float) -> Heavy | None:
    """Return the fewest rows with more than half of the loss, beside their number if errors were as expected."""
    lost = losses(predicted.output, predicted.y, num_classes)
    if len(lost) < FEWEST or not lost.sum() > 0:
        return None
    order = np.argsort(-lost, kind="stable")
    count = _half(lost)
    generator = np.random.default_rng(0)
    counts = []
    for _ in range(10):
        if num_classes == 0:
            drawn = generator.normal(size=len(lost)) ** 2
        else:
            drawn = losses(predicted.output, _draw(predicted.output, generator), num_classes)
        counts.append(_half(drawn))
    rows = predicted.index[order[: min(count, MOST_NAMED)]].tolist()
    loss = float(lost[order[:count]].mean()) / floor
    return Heavy(split, len(lost), count, float(np.median(counts)), loss, rows)


def _half(lost: np.ndarray) -> int:
    """Return how few rows have more than half of the loss."""
    total = np.cumsum(np.sort(lost)[::-1])
    return int(np.searchsorted(total, HALF * total[-1], side="right")) + 1 if total[-1] > 0 else len(lost)


def _draw(output: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw a label for each row from its predicted probabilities."""
    if output.ndim == 1:
        return (generator.random(len(output)) < 1 / (1 + np.exp(-output.clip(-500, 500)))).astype(int)
    gumbel = generator.gumbel(size=output.shape)
    drawn: np.ndarray = (output + gumbel).argmax(1)
    return drawn
