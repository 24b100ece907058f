"""Turns feature columns into tensors: fitted on the training split, saved in the checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import polars as pl
import torch

from lit_mlfund.data.preprocessing.column_types import Schema
from lit_mlfund.data.preprocessing.dates import DateColumn
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.read import require_columns
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.spec import Field

HEAVY_TAIL = 8.0  # standard deviations: a column with values beyond it is compressed
IDENTIFIER = "every value is different: an identifier or free text"
TOO_LARGE = (
    "whole numbers too large to differ as features: an identifier; data.categorical makes codes of them"
)
CLIP = 10.0  # standard deviations: limit of values far outside the training range


def _differs(column: pl.Series) -> bool:
    """Return whether whole numbers differ that are equal as floating-point numbers."""
    return column.dtype.is_integer() and column.n_unique() > 1


@dataclass(frozen=True)
class NumericColumn:
    """Standardises a number: z = (t(x) - mean) / std, clipped to ±10; a missing one becomes the median.

    t is the identity, or if the training values reach beyond 8 standard deviations
    t(x) = asinh((x - median) / scale) with the interquartile range as scale: linear in the middle,
    logarithmic in both tails. `indicator` adds a column that is 1 where the number was missing,
    unless an earlier column was missing in the very same rows.
    """

    name: str
    median: float
    scale: float | None
    mean: float
    std: float
    indicator: bool

    @classmethod
    def fit(cls, name: str, values: np.ndarray) -> Self | None:
        """Fit on float64 `[N]` with NaN for missing; return None if the column carries no information."""
        missing = np.isnan(values)
        present = values[~missing]
        if len(present) == 0 or (present.min() == present.max() and not missing.any()):
            return None
        median = float(np.median(present))
        mean, std, scale = float(present.mean()), float(present.std()), None
        if np.abs(present - mean).max() > HEAVY_TAIL * std > 0:
            low, high = np.percentile(present, (25, 75))
            scale = float(high - low) or float(np.abs(present - median).mean())
            present = np.arcsinh((present - median) / scale)
            mean, std = float(present.mean()), float(present.std())
        return cls(name, median, scale, mean, std or 1.0, bool(missing.any()))

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Convert float64 `[N]` with NaN for missing to standardised values without NaN."""
        values = np.where(np.isnan(values), self.median, values)
        if self.scale is not None:
            values = np.arcsinh((values - self.median) / self.scale)
        return np.clip((values - self.mean) / self.std, -CLIP, CLIP)


@dataclass(frozen=True)
class CategoricalColumn:
    """Codes a label by its rank in frequency from 1; 0 is missing, rare in training, or unknown."""

    name: str
    vocabulary: tuple[str, ...]

    @classmethod
    def fit(cls, table: Table, name: str, min_count: int) -> Self | str:
        """Fit on the labels of a column; return a reason instead if it carries no information."""
        return cls.from_counts(name, table.labels(name).drop_nulls().alias("label").value_counts(), min_count)

    @classmethod
    def from_counts(cls, name: str, counts: pl.DataFrame, min_count: int) -> Self | str:
        """Fit on the columns `label` and `count`, one row per label; return a reason as `fit` does."""
        if counts.height <= 1:
            return "one value only" if counts.height else "empty"
        if counts["count"].max() == 1:
            return IDENTIFIER
        frequent = counts.filter(counts["count"] >= min_count)
        if frequent.height == 0:
            return f"no value occurs {min_count} times"
        return cls(name, tuple(frequent.sort(["count", "label"], descending=[True, False])["label"]))

    def transform(self, table: Table) -> tuple[np.ndarray, int]:
        """Return codes int64 `[N]`, and how many labels were not in the vocabulary."""
        labels = table.labels(self.name)
        codes = labels.replace_strict(
            self.vocabulary, range(1, len(self.vocabulary) + 1), default=0, return_dtype=pl.Int64
        ).to_numpy()
        return codes, int((codes == 0).sum()) - labels.null_count()


@dataclass(frozen=True)
class Encoded:
    """Holds the inputs of a model, and per column the number of cells imputed, or not in the vocabulary, or in it."""

    x: Inputs
    imputed: dict[str, int]
    unknown: dict[str, int]
    known: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Preprocessor:
    """Holds the fitted columns of a table, in the order in which they make up the tensors.

    Among the numeric ones, numbers and booleans come first, then the parts of the dates; the missing
    indicators follow. `dropped` maps columns that carry no information to the reason.
    """

    source: tuple[str, ...]  # columns that are read as numbers
    dates: tuple[DateColumn, ...]
    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]
    dropped: dict[str, str]

    @classmethod
    def fit(cls, table: Table, schema: Schema, *, min_count: int = 5, time: str | None = None) -> Self:
        """Fit on the training split.

        Args:
            table: its rows.
            schema: the kinds of their columns.
            min_count: a category that occurs less often is treated as an unknown one.
            time: the column that the split follows, if any.

        Raises:
            DataError: no column can serve as a feature.
        """
        dropped = dict(schema.dropped)
        source, dates, numeric, categorical = [], [], [], []
        masks: set[bytes] = set()

        def add(name: str, values: np.ndarray) -> bool:
            column = NumericColumn.fit(name, values)
            if column is not None:
                mask = np.packbits(np.isnan(values)).tobytes()
                numeric.append(dataclasses.replace(column, indicator=column.indicator and mask not in masks))
                masks.add(mask)
            return column is not None

        for name in (*schema.numeric, *schema.boolean):
            if add(name, values := table.numbers(name)):
                source.append(name)
            elif np.isnan(values).all():
                dropped[name] = "empty"
            else:
                dropped[name] = TOO_LARGE if _differs(table.frame[name]) else "one value only"
        for name in schema.date:
            date = DateColumn.fit(name, timestamps := table.timestamps(name), trend=name != time)
            if isinstance(date, str):
                dropped[name] = date
            else:
                dates.append(date)
                for part, values in date.expand(timestamps):
                    add(part, values)
        for name in schema.categorical:
            coded = CategoricalColumn.fit(table, name, min_count)
            if isinstance(coded, str):
                dropped[name] = coded
            else:
                categorical.append(coded)
        fitted = cls(tuple(source), tuple(dates), tuple(numeric), tuple(categorical), dropped)
        fitted._refuse_nothing(table.source)
        return fitted

    def without(self, reasons: Mapping[str, str], source: str) -> Self:
        """Return the preprocessor without some of its categories; a DataError names `source` if nothing is left."""
        kept = tuple(column for column in self.categorical if column.name not in reasons)
        fitted = dataclasses.replace(self, categorical=kept, dropped={**self.dropped, **reasons})
        fitted._refuse_nothing(source)
        return fitted

    def _refuse_nothing(self, source: str) -> None:
        if not self.numeric and not self.categorical:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.dropped.items())
            raise DataError(f"{source}: no column can serve as a feature ({reasons or 'there is none'})")

    @property
    def columns(self) -> list[str]:
        """Return the columns that a new file must have."""
        return [
            *self.source,
            *(date.name for date in self.dates),
            *(column.name for column in self.categorical),
        ]

    @property
    def fields(self) -> dict[str, Field]:
        """Describe the tensors of `transform`, for `DataSpec.inputs`."""
        fields = {}
        if self.numeric:
            names = [column.name for column in self.numeric]
            names += [f"{column.name} (missing)" for column in self.numeric if column.indicator]
            fields["numeric"] = Field("numeric", (len(names),), tuple(names))
        if self.categorical:
            names = [column.name for column in self.categorical]
            sizes = tuple(len(column.vocabulary) + 1 for column in self.categorical)
            fields["categorical"] = Field("categorical", (len(names),), tuple(names), sizes)
        return fields

    def transform(self, table: Table) -> Encoded:
        """Encode the rows of `table` as tensors.

        Raises:
            DataError: a column is missing, or holds invalid values.
        """
        require_columns(table.frame, self.columns, table.source)
        x: Inputs = {}
        imputed: dict[str, int] = {}
        unknown: dict[str, int] = {}
        known: dict[str, int] = {}
        if self.numeric:
            # a row per column: writing columns into row-major memory would traverse all of it for each column
            numeric = np.empty((self.fields["numeric"].shape[0], len(table)), dtype=np.float32)
            indicator = len(self.numeric)
            for position, (column, values) in enumerate(zip(self.numeric, self._numbers(table))):
                missing = np.isnan(values)
                if count := int(missing.sum()):
                    imputed[column.name] = count
                numeric[position] = column.transform(values)
                if column.indicator:
                    numeric[indicator] = missing
                    indicator += 1
            x["numeric"] = torch.from_numpy(np.ascontiguousarray(numeric.T))
        if self.categorical:
            codes = np.empty((len(self.categorical), len(table)), dtype=np.int64)
            for position, coded in enumerate(self.categorical):
                codes[position], count = coded.transform(table)
                known[coded.name] = int(np.count_nonzero(codes[position]))
                if count:
                    unknown[coded.name] = count
            x["categorical"] = torch.from_numpy(np.ascontiguousarray(codes.T))
        return Encoded(x, imputed, unknown, known)

    def _numbers(self, table: Table) -> Iterator[np.ndarray]:
        """Yield the raw values of each of `numeric`."""
        for name in self.source:
            yield table.numbers(name)
        fitted = {column.name for column in self.numeric}
        for date in self.dates:
            for part, values in date.expand(table.timestamps(date.name)):
                if part in fitted:
                    yield values

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, for a checkpoint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore the object from the result of `to_dict`."""
        return cls(
            tuple(state["source"]),
            tuple(DateColumn(d["name"], d["trend"], tuple(d["cycles"])) for d in state["dates"]),
            tuple(NumericColumn(**column) for column in state["numeric"]),
            tuple(CategoricalColumn(c["name"], tuple(c["vocabulary"])) for c in state["categorical"]),
            dict(state["dropped"]),
        )
