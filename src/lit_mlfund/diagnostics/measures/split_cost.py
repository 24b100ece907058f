"""Measures what a model loses between training and a later split, and whether features or their relation are why."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score

from lit_mlfund.diagnostics.measures.data_evidence import Cost, Labels
from lit_mlfund.diagnostics.measures.interval import Measure, Z, difference, mean
from lit_mlfund.diagnostics.measures.probe import CrossFit, Probe
from lit_mlfund.diagnostics.measures.rows import Sample, losses

LIMIT = 20.0  # how often a row of a later split may count for one
FEWEST = 100  # rows of half of the training, that a probe needs


def split_cost(sample: Sample, fit: CrossFit, floor: float, split: str) -> Cost:
    """Compare the loss of equal probes on unseen rows of training and of `split`, as it is and weighted."""
    rows = sample.rows[split]
    lost, held_out = fit.later(rows), mean(fit.losses, groups=sample.rows["train"].group)
    probability, auroc = _tell_apart(sample, split)
    # how common a row of this split is in training, from a probe of equal numbers of both
    # where nothing tells them apart, its guesses would only add noise
    weight = (
        np.clip((1 - probability) / probability, 1 / LIMIT, LIMIT) if auroc.low > 0.5 else np.ones(len(lost))
    )
    alike = mean(lost, weight, rows.group)
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    whole = mean(lost, groups=rows.group)
    total, features = difference(whole, held_out), difference(whole, alike)
    # both are means of the same rows: the difference of each row has the smaller interval
    own = mean(lost * (1 - weight / weight.mean()), groups=rows.group)
    features = Measure(
        features.value, features.value + own.low - own.value, features.value + own.high - own.value
    )
    return Cost(
        split,
        total.over(floor),
        features.over(floor),
        difference(alike, held_out).over(floor),
        auroc,
        effective,
    )


def _tell_apart(sample: Sample, split: str) -> tuple[np.ndarray, Measure]:
    """Return for each row of `split` the probability that it is not of training, and how well both are told apart.

    Equal numbers of both are cut in halves, each judged by a probe of the other (Lopez-Paz and Oquab 2017).
    """
    kept = [j for j, name in enumerate(sample.names) if name not in sample.moving]
    train, later = sample.rows["train"].x[:, kept], sample.rows[split].x[:, kept]
    generator = np.random.default_rng(0)
    n = min(len(train), len(later))
    chosen = generator.permutation(len(train))[:n]
    x = np.concatenate([train[chosen], later])
    is_later = np.r_[np.zeros(n), np.ones(len(later))]
    half = np.r_[generator.permutation(n) % 2, generator.permutation(len(later)) % 2]
    output = np.zeros(len(x))
    for number in (0, 1):
        probe = Probe(2)
        probe.fit(x[half != number], is_later[half != number])
        output[half == number] = probe.output(x[half == number])
    area = float(roc_auc_score(is_later, output))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    m = len(later)
    variance = (area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (n * m)
    half_width = Z * math.sqrt(max(variance, 0.0))  # Hanley and McNeil 1982
    probability = 1 / (1 + np.exp(-output[n:] - math.log(n / m)))
    return probability.clip(1e-6, 1 - 1e-6), Measure(area, area - half_width, area + half_width)


def label_shifts(sample: Sample, fit: CrossFit | None, floor: float) -> Iterator[Labels]:
    """Yield for each later split how far its targets are from training, and what a correction of that would gain.

    The correction is what is right if nothing but the shares of the classes, or the mean, have changed.
    """
    train = sample.rows["train"]
    for split, rows in sample.rows.items():
        if split == "train":
            continue
        output = None if fit is None else fit.outputs(rows)
        if sample.num_classes == 0:
            distance = abs(float(rows.y.mean() - train.y.mean())) / (float(train.y.std()) or 1.0)
            p = float(stats.ks_2samp(train.y, rows.y, method="asymp").pvalue)
            moved = None if output is None else output + (rows.y - output).mean()
        else:
            a, b = (np.bincount(y.astype(int), minlength=sample.num_classes) for y in (train.y, rows.y))
            present = a + b > 0
            p = 1.0
            if present.sum() > 1:
                p = float(stats.chi2_contingency(np.stack([a, b])[:, present], correction=False).pvalue)
            share_a, share_b = ((count + 0.5) / (count.sum() + 0.5 * len(count)) for count in (a, b))
            distance = float(np.abs(share_a - share_b).sum() / 2)
            prior = np.log(share_b / share_a)
            moved = None
            if output is not None:
                moved = output + (prior[1] - prior[0] if output.ndim == 1 else prior)
        gain = Measure(math.nan)
        if output is not None and moved is not None:
            gains = losses(output, rows.y, sample.num_classes) - losses(moved, rows.y, sample.num_classes)
            gain = mean(gains, groups=rows.group).over(floor)
        yield Labels(split, distance, p, gain)


def recency(sample: Sample, floor: float, split: str) -> Measure:
    """Return how much better a probe of the latest half of training does on `split` than one of the earliest."""
    train, rows = sample.rows["train"], sample.rows[split]
    if train.time is None or len(train) < 2 * FEWEST:
        return Measure(math.nan)
    order = np.argsort(train.time, kind="stable")
    old, new = order[: len(order) // 2], order[len(order) // 2 :]
    lost = []
    for part in (old, new):
        if sample.num_classes and len(np.unique(train.y[part])) < 2:
            return Measure(math.nan)
        probe = Probe(sample.num_classes).fit(train.x[part], train.y[part])
        lost.append(losses(probe.output(rows.x), rows.y, sample.num_classes))
    return mean(lost[0] - lost[1], groups=rows.group).over(floor)
