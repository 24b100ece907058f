"""Fits reference models: baselines that a result must be compared with before it means anything.

Each is fitted on the training split alone and returns outputs in the form that the task's metrics take (logits,
values, scores), so that references and model are measured by the same code on the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import OneHotEncoder

from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.data.serving.store import ListStore
from lit_mlfund.metrics import ndcg
from lit_mlfund.references.boosting import CLASSIFICATION, Boosting
from lit_mlfund.references.fitting import fitted
from lit_mlfund.references.lightgbm_trees import LightGBM, Rows, is_installed
from lit_mlfund.references.text_features import TextWeights, unit_rows
from lit_mlfund.references.trees import PROBABILITY_FLOOR

Design: TypeAlias = np.ndarray | sp.csr_matrix
Columns: TypeAlias = dict[str, Any]  # inputs, or texts (a Series) in place of their token ids
Outputs = dict[str, np.ndarray]

TEXT_INVERSE_PENALTY = (
    10.0  # C of a logistic regression on rows of length 1, where 1 is too much of a penalty
)
MAX_CHOOSING_QUERIES = 2000  # to choose the best single feature: plenty for a choice among dozens


class LinearFeatures:
    """Encodes inputs for a linear model: dense columns unchanged, categories one-hot, texts or token ids as TF-IDF."""

    def __init__(self, spec: DataSpec):
        self.spec = spec
        self._onehot = OneHotEncoder(handle_unknown="ignore", dtype=np.float32)
        self._idf: dict[str, np.ndarray] = {}
        self._texts: dict[str, TextWeights] = {}

    @property
    def of_texts(self) -> bool:
        """Return whether texts themselves are among the inputs."""
        return bool(self._texts)

    def fit_transform(self, x: Columns) -> Design:
        for name, field in self.spec.inputs.items():
            if isinstance(values := x[name], pl.Series):
                self._texts[name] = TextWeights().fit(values.to_list())
            elif field.kind == "categorical":
                self._onehot.fit(_array(values))
            elif field.kind == "tokens":
                counts = _token_counts(_array(values), field.cardinalities[0])
                present = np.asarray((counts > 0).sum(0)).ravel()
                self._idf[name] = np.log((1 + counts.shape[0]) / (1 + present)).astype(np.float32) + 1
        return self.transform(x)

    def transform(self, x: Columns) -> Design:
        parts: list[Design] = []
        for name, field in self.spec.inputs.items():
            if name in self._texts:
                parts.append(self._texts[name].transform(x[name].to_list()))
                continue
            values = _array(x[name])
            if field.kind == "categorical":
                parts.append(self._onehot.transform(values))
            elif field.kind == "tokens":
                weighted = _token_counts(values, field.cardinalities[0]) @ sp.diags(self._idf[name])
                parts.append(unit_rows(weighted))
            else:
                parts.append(values.reshape(len(values), -1))
        if all(isinstance(part, np.ndarray) for part in parts):
            return np.concatenate(parts, axis=1)
        return sp.hstack([sp.csr_matrix(part) for part in parts], format="csr", dtype=np.float32)


def point_references(
    spec: DataSpec,
    train: tuple[Columns, np.ndarray],
    splits: Mapping[str, Columns],
    seed: int = 0,
    boosting: Boosting | None = None,
    val: tuple[Columns, np.ndarray] | None = None,
) -> dict[str, Outputs]:
    """Fit a constant predictor, a linear model and gradient boosting for a task with one target per row.

    Args:
        spec: describes the data; `spec.task` is binary, multiclass or regression (ranking is treated as a regression
            of the relevance of single documents).
        train: inputs `[N, …]` and target `[N]` of the training split.
        splits: inputs of the splits to predict.
        seed: seed of the boosting's own hold-out for early stopping.
        boosting: gradient boosting that is fitted on these rows already.
        val: inputs and target of the validation split, by which LightGBM is stopped where it is installed.

    Returns:
        name -> split -> logits `[N]`, logits `[N, K]` or values `[N]`. Boosting is left out where all features are
        token sequences: it is not suited to thousands of sparse columns.
    """
    x, y = train
    num_classes = max(spec.num_classes, 2)
    classify = spec.task in CLASSIFICATION

    def outputs(model: Any, predicted: np.ndarray) -> np.ndarray:
        if classify:
            known, predicted = predicted, np.full((len(predicted), num_classes), PROBABILITY_FLOOR)
            predicted[:, model.classes_.astype(int)] = known
        return _as_outputs(predicted, spec.task)

    references: dict[str, Outputs] = {"constant": {}}
    for split, inputs in splits.items():
        rows = len(next(iter(inputs.values())))
        if classify:
            share = np.bincount(y.astype(int), minlength=num_classes) / len(y)
            references["constant"][split] = _logits(np.tile(share, (rows, 1)), spec.task)
        else:
            references["constant"][split] = np.full(rows, y.mean())

    def fit_linear() -> Outputs:
        features = LinearFeatures(spec)
        design = features.fit_transform(x)
        inverse = TEXT_INVERSE_PENALTY if features.of_texts else 1.0
        linear = LogisticRegression(C=inverse, max_iter=200, tol=1e-3) if classify else Ridge(alpha=1.0)
        linear.fit(design, y)
        predict = linear.predict_proba if classify else linear.predict
        return {
            split: outputs(linear, predict(features.transform(inputs))) for split, inputs in splits.items()
        }

    def fit_boosting() -> Outputs:
        trees = boosting or Boosting(spec, seed).fit(x, y)
        return {split: outputs(trees.model, trees.predict(inputs)) for split, inputs in splits.items()}

    fits = {"linear": fit_linear}
    if any(field.kind != "tokens" for field in spec.inputs.values()):
        fits["gradient_boosting"] = fit_boosting
        if val is not None and spec.task != "ranking":
            fits |= _lightgbm(spec, Rows(x, y), Rows(*val), splits, seed)
    return references | _fitted(fits)


def _lightgbm(
    spec: DataSpec, train: Rows, val: Rows, splits: Mapping[str, Columns], seed: int
) -> dict[str, Callable[[], Outputs]]:
    """Return the fit of LightGBM by its name; nothing where it is not installed."""

    def fit() -> Outputs:
        model = LightGBM(spec, seed).fit(train, val)
        return {split: _as_outputs(model.predict(inputs), spec.task) for split, inputs in splits.items()}

    return {"lightgbm": fit} if is_installed() else {}


def ranking_references(
    spec: DataSpec,
    train: ListStore,
    splits: Mapping[str, Inputs],
    seed: int = 0,
    val: ListStore | None = None,
) -> dict[str, Outputs]:
    """Fit the ranking references: random order, the best single feature, a linear model and gradient boosting.

    The best feature, and whether high or low values rank first, is chosen by NDCG@10 on the training split. The
    linear model and gradient boosting are fitted on the relevance of single documents, LightGBM on lists (LambdaRank).

    Args:
        spec: names and shapes of the inputs.
        train: queries to choose and fit on.
        splits: by name the inputs `[N, …]` of the documents of all queries, one query after another.
        seed: seed of the random order and of the boosting's hold-out.
        val: queries by which LightGBM is stopped where it is installed.

    Returns:
        name -> split -> scores `[N]` of those documents.
    """
    generator = np.random.default_rng(seed)
    references: dict[str, Outputs] = {
        "random": {split: generator.random(len(next(iter(x.values())))) for split, x in splits.items()}
    }

    def choose_feature() -> Outputs:
        best = _best_feature(spec, train)
        if best is None:
            return {}
        name, column, sign = best
        return {split: sign * _array(x[name])[:, column] for split, x in splits.items()}

    references |= _fitted({"best_feature": choose_feature})
    by_point = point_references(spec, (train.x, train.relevance.numpy()), splits, seed)
    references |= {name: by_point[name] for name in ("linear", "gradient_boosting") if name in by_point}
    if val is not None:
        references |= _fitted(_lightgbm(spec, _rows_of_lists(train), _rows_of_lists(val), splits, seed))
    return references


def _fitted(fits: Mapping[str, Callable[[], Outputs]]) -> dict[str, Outputs]:
    """Fit references, and leave out those without outputs."""
    outputs = {name: fitted(name, fit) for name, fit in fits.items()}
    return {name: by_split for name, by_split in outputs.items() if by_split}


def _best_feature(spec: DataSpec, train: ListStore) -> tuple[str, int, int] | None:
    batch = train.batch(torch.linspace(0, len(train) - 1, min(len(train), MAX_CHOOSING_QUERIES)).long())
    candidates: list[tuple[float, tuple[str, int, int]]] = []
    for name, field in spec.inputs.items():
        if field.kind != "numeric":
            continue
        for column in range(field.shape[0]):
            for sign in (1, -1):
                values = ndcg(sign * batch.x[name][..., column], batch.relevance, batch.mask, k=10)
                candidates.append((float(values.nanmean()), (name, column, sign)))
    return max(candidates)[1] if candidates else None


def _rows_of_lists(store: ListStore) -> Rows:
    return Rows(store.x, store.relevance.numpy(), store.lengths.numpy())


def _as_outputs(predicted: np.ndarray, task: str) -> np.ndarray:
    return _logits(predicted, task) if task in CLASSIFICATION else predicted


def _logits(probability: np.ndarray, task: str) -> np.ndarray:
    clipped = np.clip(probability, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    if task == "binary":
        return np.log(clipped[:, 1]) - np.log1p(-clipped[:, 1])
    return np.log(clipped)


def _token_counts(ids: np.ndarray, vocabulary: int) -> sp.csr_matrix:
    rows, columns = np.nonzero(ids)
    ones = np.ones(len(rows), dtype=np.float32)
    return sp.csr_matrix((ones, (rows, ids[rows, columns])), shape=(len(ids), vocabulary))


def _array(values: object) -> np.ndarray:
    return np.asarray(values)
