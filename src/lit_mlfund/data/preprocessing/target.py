"""Checks the target column, and encodes it for the task that it is trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from torch import Tensor

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.spec import Task

MAX_PLAIN_CLASSES = 50  # different whole numbers, beyond which they are amounts and no classes
MISSING_TARGET = (
    "data.missing_target=drop leaves such rows out, data.missing=[] makes labels of NA, None and the like"
)
MAX_GRADE = 30  # 2^relevance must stay a number that float32 sums over a list


@dataclass(frozen=True)
class Target:
    """Encodes the column `name` as `y`.

    binary      float32 in {0, 1}, from booleans, the numbers 0 and 1, or two labels; `classes` are the
                negative and the positive one
    multiclass  int64 codes of `classes`, sorted
    regression  float32; `mean` and `std` are those of the training split
    ranking     float32 grades of relevance, 0 or more
    """

    name: str
    task: Task
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def fit(cls, table: Table, name: str, task: Task, positive: str | None = None) -> Self:
        """Check the training split's target, and learn its classes or its scale.

        Args:
            positive: which of two labels is 1 (binary; without it the later one in sorted order).

        Raises:
            DataError: missing cells, one value only, or values that are invalid for the task.
        """
        refuse_missing(table, name)
        if task == "binary":
            return cls(name, task, _two_classes(table, name, positive))
        if task == "multiclass":
            return cls(name, task, _classes(table, name))
        values = table.numbers(name)
        if values.min() == values.max():
            raise DataError(f"{table.source}: column {name!r}: the target is {values[0]:g} in all rows")
        if task == "ranking":
            return cls(name, task)
        return cls(name, task, mean=float(values.mean()), std=float(values.std()))

    def encode(self, table: Table) -> Tensor:
        """Return `y [N]` of any split.

        Raises:
            DataError: missing cells, classes that train does not have, or values that are invalid for the task.
        """
        refuse_missing(table, self.name)
        if self.classes:
            labels = table.labels(self.name)
            codes = labels.replace_strict(
                self.classes, range(len(self.classes)), default=-1, return_dtype=pl.Int64
            ).to_numpy(writable=True)
            if (codes < 0).any():
                problem = f"class {labels.filter(codes < 0)[0]!r} does not occur in train"
                raise table.error(self.name, problem, codes < 0)
            return torch.from_numpy(codes if self.task == "multiclass" else codes.astype(np.float32))
        values = table.numbers(self.name)
        if self.task == "ranking" and ((values < 0) | (values > MAX_GRADE)).any():
            bad = (values < 0) | (values > MAX_GRADE)
            problem = f"relevance must be in 0 … {MAX_GRADE}, found {values[bad][0]:g}"
            raise table.error(self.name, problem, bad)
        return torch.from_numpy(values.astype(np.float32))

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, for a checkpoint."""
        return {**dataclasses.asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore the object from the result of `to_dict`."""
        return cls(**{**state, "classes": tuple(state["classes"])})


def refuse_missing(table: Table, name: str) -> None:
    """Raise a DataError that names the rows without a target."""
    column = table.frame[name]
    missing = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
    if missing.any():
        raise table.error(name, "the target is missing", missing, MISSING_TARGET)


def _two_classes(table: Table, name: str, positive: str | None) -> tuple[str, ...]:
    column, labels = table.frame[name], table.labels(name)
    classes = _sort_labels(labels.unique())
    plain = column.dtype.is_numeric() and (positive is None or len(classes) > 2)
    if plain and (bad := ~np.isin(column.to_numpy(), (0, 1))).any():
        label = labels.filter(bad)[0]
        hint = f"data.positive={label} takes this one of two labels for 1" if len(classes) == 2 else ""
        raise table.error(name, f"task=binary needs 0 and 1, found {label}", bad, hint)
    if len(classes) > 2:
        shown = ", ".join(map(repr, classes[:5])) + (", …" if len(classes) > 5 else "")
        raise DataError(
            f"{table.source}: column {name!r}: task=binary needs two classes, found {len(classes)} ({shown}); "
            "task=multiclass takes more"
        )
    if len(classes) == 1:
        raise DataError(f"{table.source}: column {name!r}: the target is {classes[0]!r} in all rows")
    if positive is None:
        return tuple(classes)
    positive = _as_label(positive)
    if positive not in classes:
        raise DataError(f"{table.source}: column {name!r}: the positive class {positive!r} does not occur")
    return next(label for label in classes if label != positive), positive


def _as_label(value: str | float) -> str:
    """Return an option's value as `Table.labels` writes it: 2, 2.0 and "2" alike, true for a truth value."""
    return Table.of(pl.DataFrame({"label": [value]}), "").labels("label")[0]


def _classes(table: Table, name: str) -> tuple[str, ...]:
    column, labels = table.frame[name], table.labels(name)
    if column.dtype.is_float() and (bad := column.to_numpy() % 1 != 0).any():
        problem = (
            f"task=multiclass needs labels, found {labels.filter(bad)[0]}; task=regression takes numbers"
        )
        raise table.error(name, problem, bad)
    classes = _sort_labels(labels.unique())
    if len(classes) == 1:
        raise DataError(f"{table.source}: column {name!r}: the target is {classes[0]!r} in all rows")
    return tuple(classes)


def _sort_labels(labels: Iterable[str]) -> list[str]:
    """Sort by value if all labels are numbers (2 before 10), else alphabetically."""
    labels = list(labels)
    try:
        return sorted(labels, key=float)
    except ValueError:
        return sorted(labels)


def infer_task(table: Table, name: str) -> Task:
    """Return the task that the values of a target make plain: binary, multiclass or regression.

    Two values are binary, whatever their type. Text and categories of more than two are multiclass. Numbers with a
    fraction are a regression, and so are whole ones of which more than `MAX_PLAIN_CLASSES` occur.

    Raises:
        ValueError: one value only, or few whole numbers, which may be classes, counts or grades.
    """
    labels = table.labels(name).drop_nulls()
    num_values = labels.n_unique()
    if num_values < 2:
        raise ValueError(f"{table.source}: column {name!r}: a target needs at least two values; pass task=")
    if num_values == 2:
        return "binary"
    column = table.frame[name]
    if not column.dtype.is_numeric():
        return "multiclass"
    whole = not column.dtype.is_float() or bool((column.drop_nulls().drop_nans() % 1 == 0).all())
    if not whole or num_values > MAX_PLAIN_CLASSES:
        return "regression"
    raise ValueError(
        f"{table.source}: column {name!r} holds {num_values} whole numbers, which may be classes or amounts; "
        "pass task=multiclass or task=regression"
    )
