"""Fits gradient boosting on the rows of a data module: a reference by itself, and the partner of a blend."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.preprocessing import TargetEncoder

from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.references.trees import MAX_NATIVE_CATEGORIES

CLASSIFICATION = ("binary", "multiclass")


class TreeFeatures:
    """Encodes inputs for trees: dense columns and category codes; many codes as cross-fitted smoothed target means."""

    def __init__(self, spec: DataSpec, seed: int):
        self.spec = spec
        self.seed = seed
        self.categorical: list[bool] = []
        self.encoder: TargetEncoder | None = None

    def fit_transform(self, x: Inputs, target: np.ndarray) -> np.ndarray:
        dense, codes, many = self._columns(x)
        self.categorical = [False] * dense.shape[1] + [True] * codes.shape[1] + [False] * many.shape[1]
        if many.shape[1]:
            kind = {"binary": "binary", "multiclass": "multiclass"}.get(self.spec.task, "continuous")
            self.encoder = TargetEncoder(target_type=kind, random_state=self.seed)
            with warnings.catch_warnings():  # from scikit-learn 1.11 on it takes a splitter, which 1.5 lacks
                warnings.simplefilter("ignore", FutureWarning)
                many = self.encoder.fit_transform(many, target)
            self.categorical[dense.shape[1] + codes.shape[1] :] = [False] * many.shape[1]
        return np.concatenate([dense, codes, many], axis=1).astype(np.float32)

    def transform(self, x: Inputs) -> np.ndarray:
        dense, codes, many = self._columns(x)
        if self.encoder is not None:
            many = self.encoder.transform(many)
        return np.concatenate([dense, codes, many], axis=1).astype(np.float32)

    def _columns(self, x: Inputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = len(next(iter(x.values())))
        dense, codes, many = [np.empty((rows, 0))], [np.empty((rows, 0))], [np.empty((rows, 0))]
        for name, field in self.spec.inputs.items():
            values = np.asarray(x[name])
            if field.kind == "categorical":
                few = np.array(field.cardinalities) <= MAX_NATIVE_CATEGORIES
                codes.append(values[:, few])
                many.append(values[:, ~few])
            elif field.kind != "tokens":
                dense.append(values.reshape(rows, -1))
        return np.concatenate(dense, 1), np.concatenate(codes, 1), np.concatenate(many, 1)


class Boosting:
    """Fits HistGradientBoosting with its defaults.

    Args:
        spec: describes the data; any task that is no classification is a regression.
        seed: seed of its own hold-out for early stopping.
    """

    def __init__(self, spec: DataSpec, seed: int):
        self.features = TreeFeatures(spec, seed)
        self.classify = spec.task in CLASSIFICATION
        self._kind = HistGradientBoostingClassifier if self.classify else HistGradientBoostingRegressor
        self._seed = seed

    def fit(self, x: Inputs, target: np.ndarray) -> Boosting:
        """Fit on inputs `[N, …]` and target `[N]`; return self."""
        design = self.features.fit_transform(x, target)
        categorical = self.features.categorical
        self.model = self._kind(categorical_features=categorical, random_state=self._seed).fit(design, target)
        return self

    def predict(self, x: Inputs) -> np.ndarray:
        """Return the probabilities `[N, classes in training]`, or the values `[N]`."""
        design = self.features.transform(x)
        predicted: np.ndarray = (
            self.model.predict_proba(design) if self.classify else self.model.predict(design)
        )
        return predicted
