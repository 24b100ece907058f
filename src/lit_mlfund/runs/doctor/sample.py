"""Samples the splits of a data module, as the model sees the rows and as they stand in the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import torch

from lit_mlfund.data.preprocessing.features import Preprocessor
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.mapped import Mapped
from lit_mlfund.data.serving.sampling import sampled_rows
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.data.serving.store import PointStore
from lit_mlfund.datamodules import DataModule
from lit_mlfund.datamodules.frame import FrameDataModule
from lit_mlfund.diagnostics.measures.duplicates import fingerprints, rounded_fingerprints
from lit_mlfund.diagnostics.measures.rows import Fingerprints, Predictions, Rows, Sample
from lit_mlfund.modules.outputs import PointOutputs

SPLITS = ("train", "val", "test")
TASKS = ("binary", "multiclass", "regression")
MOST_COLUMNS = 200
MOST_CLASSES = 50
MOST_CELLS = 10_000_000  # of all splits, that are compared for duplicates
LEAST_COLUMNS = 4  # of numbers: in fewer, rows that have nothing to do with each other are near
DIFFERENT = ("none of its values in training", "of the val rows have a value that training")  # reasons


def sample_data(data: DataModule, predictions: Mapping[str, PointOutputs] | None = None) -> Sample:
    """Sample the splits of a data module that is set up; `predictions` are those of a trained model, by split."""
    spec, missing = data.spec, dict[str, str]()
    stores = {split: data.stores[split] for split in SPLITS if split in data.stores}
    empty = Sample(spec.task, data.split_by, {})
    if spec.task not in TASKS or not all(isinstance(store, PointStore) for store in stores.values()):
        return dataclasses.replace(
            empty, missing={"data": f"examples of task={spec.task} are no single rows of a table"}
        )
    points: dict[str, Any] = stores
    prints: dict[str, Fingerprints] = {}
    if any(isinstance(store, Mapped) for store in points.values()):
        missing["duplicates"] = "rows lie on the disk"
    elif sum(values.numel() for store in points.values() for values in store.x.values()) > MOST_CELLS:
        missing["duplicates"] = f"the splits have more than {MOST_CELLS:,} cells"
    else:
        prints = {split: _fingerprints(store, spec) for split, store in points.items()}
    rows: dict[str, Rows] = {}
    names, categorical = _columns(spec)
    if set(spec.inputs) - {"numeric", "categorical"}:
        missing["columns"] = f"{' and '.join(spec.inputs)} have no columns"
    elif not 0 < len(names) <= MOST_COLUMNS or spec.num_classes > MOST_CLASSES:
        missing["columns"] = f"more than {MOST_COLUMNS} columns or {MOST_CLASSES} classes"
    else:
        rows = {split: _rows(data, split, store) for split, store in points.items()}
    frame = _frame(data)
    features, roles = (frame.fitted.features, frame.roles) if frame else (None, None)
    if rows and frame and not frame.samples:
        missing["unseen categories"] = "rows of the file are not kept"
    return dataclasses.replace(
        empty,
        rows=rows,
        names=names,
        categorical=np.array(categorical, dtype=bool),
        num_classes=_num_classes(spec),
        features=tuple(
            name
            for name in (features.columns if features else names)
            if rows and name in rows["train"].columns
        ),
        moving=tuple(name for name in names if roles and roles.time and name.startswith(f"{roles.time} (")),
        identifiers=_identifiers(frame) if rows else (),
        fingerprints=prints,
        predictions={split: _predictions(outputs, spec) for split, outputs in (predictions or {}).items()},
        dropped={}
        if features is None
        else {name: why for name, why in features.dropped.items() if any(part in why for part in DIFFERENT)},
        excluded=tuple(name for name in frame.roles.exclude if name not in frame.split_columns)
        if frame
        else (),
        missing=missing,
    )


def _frame(data: DataModule) -> FrameDataModule | None:
    """Return a data module whose features are columns of a table."""
    is_table = isinstance(data, FrameDataModule) and isinstance(data.fitted.features, Preprocessor)
    return data if is_table else None  # type: ignore[return-value]


def _num_classes(spec: DataSpec) -> int:
    return 0 if spec.task == "regression" else max(spec.num_classes, 2)


def _columns(spec: DataSpec) -> tuple[tuple[str, ...], list[bool]]:
    """Return the names of the columns of `Rows.x`, and which are codes."""
    names: list[str] = []
    categorical: list[bool] = []
    for name in ("numeric", "categorical"):
        if name in spec.inputs:
            field = spec.inputs[name]
            names += field.names or [f"{name}[{column}]" for column in range(field.shape[0])]
            categorical += [name == "categorical"] * field.shape[0]
    return tuple(names), categorical


def _target(y: Any, spec: DataSpec) -> np.ndarray:
    values: np.ndarray = np.asarray(y, dtype=np.float64)
    return (values - spec.target_mean) / spec.target_std if spec.task == "regression" else values.astype(int)


def _rows(data: DataModule, split: str, store: PointStore) -> Rows:
    position = sampled_rows(split, len(store))
    batch = store.batch(torch.from_numpy(position))
    assert batch.index is not None
    parts = [batch.x[name].numpy() for name in ("numeric", "categorical") if name in batch.x]
    x = np.concatenate(parts, axis=1).astype(np.float64)
    index = batch.index.numpy()
    columns = {name: x[:, column] for column, name in enumerate(_columns(data.spec)[0])}
    time, group = index.astype(float) if data.split_by == "time" else None, None
    if (frame := _frame(data)) is not None:
        features, table = frame.fitted.features, frame.samples.get(split)
        columns = _of_file(table, features) if table is not None else _decoded(x, features)
        if table is not None and frame.roles.time is not None:
            time = _moments(table, frame.roles.time)
        if table is not None and frame.group is not None:
            group = table.codes(frame.group)
        if table is not None:
            columns |= {
                name: table.labels(name).fill_null("").to_numpy()
                for name in _identifiers(frame)
                if name not in columns
            }
    return Rows(x, _target(batch.y, data.spec), index, columns, time, group)


def _of_file(table: Table, features: Preprocessor) -> dict[str, np.ndarray]:
    """Return numbers and labels as they stand in the file."""
    return {name: table.numbers(name) for name in features.source} | {
        column.name: table.labels(column.name).to_numpy().astype(object) for column in features.categorical
    }


def _decoded(x: np.ndarray, features: Preprocessor) -> dict[str, np.ndarray]:
    """Return numbers and labels from what the model sees; beyond the limits of that, nothing is known of them."""
    columns: dict[str, np.ndarray] = {}
    indicator = len(features.numeric)
    for position, column in enumerate(features.numeric):
        values = x[:, position] * column.std + column.mean
        if column.scale is not None:
            values = np.sinh(values) * column.scale + column.median
        if column.indicator:
            values = np.where(x[:, indicator] > 0, np.nan, values)
            indicator += 1
        if column.name in features.source:
            columns[column.name] = values
    for position, coded in enumerate(features.categorical):
        labels = np.array([None, *coded.vocabulary], dtype=object)
        columns[coded.name] = labels[x[:, indicator + position].astype(int)]
    return columns


def _moments(table: Table, name: str) -> np.ndarray:
    if table.frame.schema[name].is_numeric():
        return table.numbers(name)
    moments: np.ndarray = table.timestamps(name).to_physical().to_numpy().astype(float)
    return moments


def _identifiers(frame: FrameDataModule | None) -> tuple[str, ...]:
    """Return the columns of whole numbers or text whose values may name a person or thing."""
    table = frame.samples.get("train") if frame is not None else None
    if table is None or frame is None:
        return ()
    roles = frame.roles
    others = {roles.target, roles.weight, roles.time, *frame.split_columns}
    return tuple(
        name
        for name, kind in table.frame.schema.items()
        if name not in others and (kind.is_integer() or kind in (pl.String, pl.Categorical, pl.Enum))
    )


def _fingerprints(store: PointStore, spec: DataSpec) -> Fingerprints:
    parts = {name: values.numpy() for name, values in store.x.items()}
    exact = fingerprints(*parts.values())
    near = exact[:, None]
    numeric = parts.get("numeric")
    if numeric is not None and numeric.ndim == 2 and numeric.shape[1] >= LEAST_COLUMNS:
        near = rounded_fingerprints(numeric, [part for name, part in parts.items() if name != "numeric"])
    elif set(parts) == {"tokens"}:  # the same words in another order
        near = fingerprints(-np.sort(-parts["tokens"], axis=1))[:, None]
    index = np.arange(len(store)) if store.index is None else store.index.numpy()
    return Fingerprints(exact, near, index, _target(store.y, spec))


def _predictions(outputs: PointOutputs, spec: DataSpec) -> Predictions:
    assert outputs.index is not None
    output = outputs.output.double().cpu().numpy()
    if spec.task == "regression":
        output = (output - spec.target_mean) / spec.target_std
    return Predictions(outputs.index.cpu().numpy(), output, _target(outputs.target.cpu(), spec))
