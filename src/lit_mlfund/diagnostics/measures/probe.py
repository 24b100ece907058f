"""Fits a small model in tenths of a second, on which the cost of a change in the data is tried."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from lit_mlfund.diagnostics.measures.rows import Rows, Sample, losses

FOLDS = 3
SURE = 1e-3  # least probability: few rows are no reason to be surer
SETTINGS = {
    "max_iter": 40,
    "max_leaf_nodes": 8,
    "early_stopping": False,
    "random_state": 0,
}


class Probe:
    """Predicts a target from the inputs of a model: boosted trees, or random ones for several classes.

    Codes of categories are taken as what they are, ranks by frequency: trees that split sets of them take longer.

    Args:
        num_classes: of a classification, 0 for a regression.
    """

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self.model: Any = None

    def fit(self, x: np.ndarray, y: np.ndarray) -> Probe:
        """Fit on `x [N, F]` and `y [N]`."""
        settings = {**SETTINGS, "min_samples_leaf": min(max(len(x) // 50, 5), 30)}
        if self.num_classes == 0:
            self.model = HistGradientBoostingRegressor(**settings)
        elif self.num_classes == 2:
            self.model = HistGradientBoostingClassifier(**settings)
        else:
            self.model = ExtraTreesClassifier(40, min_samples_leaf=2, max_features=0.5, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.fit(x, y)
        return self

    def output(self, x: np.ndarray) -> np.ndarray:
        """Return logits `[N]` or `[N, K]`, or values `[N]`."""
        if self.num_classes == 0:
            values: np.ndarray = self.model.predict(x)
            return values
        probability = np.full((len(x), max(self.num_classes, 2)), SURE)
        probability[:, self.model.classes_.astype(int)] = self.model.predict_proba(x).clip(SURE, 1 - SURE)
        logs: np.ndarray = np.log(probability)
        return logs[:, 1] - logs[:, 0] if self.num_classes == 2 else logs


class CrossFit:
    """Fits probes each on all but a fold of the training rows; a later split is predicted by each of them.

    So losses in training and in later splits are those of equal models, on rows that they have not seen.

    Args:
        sample: data set.
        fold: `[N]` fold of each training row, from 0.
        without: columns of `Rows.x` that the probes do not see.
    """

    def __init__(self, sample: Sample, fold: np.ndarray, without: tuple[int, ...] = ()):
        train = sample.rows["train"]
        self.num_classes = sample.num_classes
        self.kept = np.array([j for j in range(train.x.shape[1]) if j not in without])
        self.probes: list[Probe] = []
        shape = (len(train), sample.num_classes) if sample.num_classes > 2 else (len(train),)
        self.held_out = np.zeros(shape)
        for number in np.unique(fold):
            probe = Probe(sample.num_classes)
            probe.fit(train.x[fold != number][:, self.kept], train.y[fold != number])
            self.held_out[fold == number] = probe.output(train.x[fold == number][:, self.kept])
            self.probes.append(probe)
        self.losses = losses(self.held_out, train.y, sample.num_classes)

    def later(self, rows: Rows, x: np.ndarray | None = None) -> np.ndarray:
        """Return the mean loss of the probes on each row `[N]` of a later split, or on other inputs `x` of them."""
        x = rows.x if x is None else x
        each = [losses(probe.output(x[:, self.kept]), rows.y, self.num_classes) for probe in self.probes]
        return np.asarray(np.mean(each, 0))

    def outputs(self, rows: Rows) -> np.ndarray:
        """Return the mean output of the probes on each row of a later split."""
        return np.asarray(np.mean([probe.output(rows.x[:, self.kept]) for probe in self.probes], 0))


def folds_of(train: Rows, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the fold of each training row: blocks of time, whole groups, or drawn with a fixed seed."""
    generator = np.random.default_rng(0)
    groups = train.group if groups is None else groups
    if groups is not None:
        values, codes = np.unique(groups, return_inverse=True)
        return np.asarray((generator.permutation(len(values)) % FOLDS)[codes])
    if train.time is not None:
        order = np.argsort(train.time, kind="stable")
        fold = np.empty(len(train), dtype=int)
        fold[order] = np.arange(len(train)) * FOLDS // len(train)
        return fold
    return np.asarray(generator.permutation(len(train)) % FOLDS)
