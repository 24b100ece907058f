"""Fits LightGBM, where it is installed, stopped by the validation split."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.references.boosting import TreeFeatures
from lit_mlfund.references.fitting import LeftOut

ROUNDS = 2000  # at most
PATIENCE = 50  # rounds without a better value on validation
OBJECTIVES = {"binary": "binary", "multiclass": "multiclass", "ranking": "lambdarank"}


@dataclass(frozen=True)
class Rows:
    """Holds inputs `[N, …]` and target `[N]`; for a ranking also the number of documents of each query."""

    x: Inputs
    y: np.ndarray
    sizes: np.ndarray | None = None


def is_installed() -> bool:
    """Return whether there is LightGBM, without importing it."""
    return importlib.util.find_spec("lightgbm") is not None


class LightGBM:
    """Fits LightGBM with its defaults, for as many rounds as are best on validation (a ranking: by LambdaRank).

    Args:
        spec: describes the data.
        seed: of all that it draws.
    """

    def __init__(self, spec: DataSpec, seed: int):
        self.spec = spec
        self.features = TreeFeatures(spec, seed)
        self.options: dict[str, Any] = {
            "objective": OBJECTIVES.get(spec.task, "regression"),
            "num_class": spec.num_classes if spec.task == "multiclass" else 1,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": torch.get_num_threads(),
            "verbosity": -1,
        }
        if spec.task == "ranking":
            self.options["eval_at"] = [10]

    def fit(self, train: Rows, val: Rows) -> Self:
        """Fit on the rows of `train`; return self.

        Raises:
            LeftOut: LightGBM cannot be loaded, or refuses these rows.
        """
        try:
            import lightgbm
        except (ImportError, OSError) as error:  # OSError: a library of the system is missing
            raise LeftOut(f"LightGBM cannot be loaded: {error}") from error
        design = self.features.fit_transform(train.x, train.y)
        codes = np.flatnonzero(self.features.categorical).tolist()
        try:
            rows = lightgbm.Dataset(design, train.y, group=train.sizes, categorical_feature=codes)
            held_out = rows.create_valid(self.features.transform(val.x), val.y, group=val.sizes)
            stopping = lightgbm.early_stopping(PATIENCE, verbose=False)
            self.model = lightgbm.train(self.options, rows, ROUNDS, [held_out], callbacks=[stopping])
        except lightgbm.basic.LightGBMError as error:
            raise LeftOut(f"LightGBM refuses the data: {' '.join(str(error).split())}") from error
        return self

    def predict(self, x: Inputs) -> np.ndarray:
        """Return probabilities `[N, K]` (binary too), or values or scores `[N]`."""
        predicted = np.asarray(self.model.predict(self.features.transform(x)))
        return np.stack([1 - predicted, predicted], 1) if self.spec.task == "binary" else predicted
