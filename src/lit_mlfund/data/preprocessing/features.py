"""Feature columns to tensors: fitted on the training split, carried in the checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
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

HEAVY_TAIL = 8.0  # standard deviations: a column that reaches beyond is compressed
IDENTIFIER = "every value is different: an identifier or free text"
CLIP = 10.0  # standard deviations: what a served value far outside of training is cut to


@dataclass(frozen=True)
class NumericColumn:
    """A number, standardised: z = (t(x) - mean) / std, cut to ±10; a missing one is the median.

    t is the identity, or where the training values reach beyond 8 standard deviations
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
        """Fit on float64 `[N]` with NaN for missing; None where the column says nothing."""
        missing = np.isnan(values)
        seen = values[~missing]
        if len(seen) == 0 or (seen.min() == seen.max() and not missing.any()):
            return None
        median = float(np.median(seen))
        mean, std, scale = float(seen.mean()), float(seen.std()), None
        if np.abs(seen - mean).max() > HEAVY_TAIL * std > 0:
            low, high = np.percentile(seen, (25, 75))
            scale = float(high - low) or float(np.abs(seen - median).mean())
            seen = np.arcsinh((seen - median) / scale)
            mean, std = float(seen.mean()), float(seen.std())
        return cls(name, median, scale, mean, std or 1.0, bool(missing.any()))

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Float64 `[N]` with NaN to standardised values without."""
        values = np.where(np.isnan(values), self.median, values)
        if self.scale is not None:
            values = np.arcsinh((values - self.median) / self.scale)
        return np.clip((values - self.mean) / self.std, -CLIP, CLIP)


@dataclass(frozen=True)
class CategoricalColumn:
    """A label, coded by its rank in frequency from 1; 0 is missing, rare in training, or unknown."""

    name: str
    vocabulary: tuple[str, ...]

    @classmethod
    def fit(cls, table: Table, name: str, min_count: int) -> Self | str:
        """Fit on the labels of a column; the reason why not where it says nothing."""
        return cls.of(name, table.labels(name).drop_nulls().alias("label").value_counts(), min_count)

    @classmethod
    def of(cls, name: str, counts: pl.DataFrame, min_count: int) -> Self | str:
        """Fit on the columns `label` and `count`, one row per label; the reason why not as in `fit`."""
        if counts.height <= 1:
            return "one value only" if counts.height else "empty"
        if counts["count"].max() == 1:
            return IDENTIFIER
        kept = counts.filter(counts["count"] >= min_count).sort(["count", "label"], descending=[True, False])
        if kept.height == 0:
            return f"no value occurs {min_count} times"
        return cls(name, tuple(kept["label"]))

    def transform(self, table: Table) -> tuple[np.ndarray, int]:
        """Codes int64 `[N]`, and how many labels were not in the vocabulary."""
        labels = table.labels(self.name)
        codes = labels.replace_strict(
            self.vocabulary, range(1, len(self.vocabulary) + 1), default=0, return_dtype=pl.Int64
        ).to_numpy()
        return codes, int((codes == 0).sum()) - labels.null_count()


@dataclass(frozen=True)
class Encoded:
    """Inputs of a model, and how many cells of which columns were imputed or not in the vocabulary."""

    x: Inputs
    imputed: dict[str, int]
    unknown: dict[str, int]


@dataclass(frozen=True)
class Preprocessor:
    """The fitted columns of a table, in the order in which they make up the tensors.

    Among the numeric ones, numbers and truth values come first, then the parts of the dates; the missing
    indicators follow. `dropped` tells which columns say nothing, and why.
    """

    source: tuple[str, ...]  # the columns that are read as numbers
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
            DataError: no column is of any use.
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
            if add(name, table.numbers(name)):
                source.append(name)
            else:
                dropped[name] = "one value only"
        for name in schema.date:
            date = DateColumn.fit(name, moments := table.moments(name), trend=name != time)
            if isinstance(date, str):
                dropped[name] = date
            else:
                dates.append(date)
                for part, values in date.expand(moments):
                    add(part, values)
        for name in schema.categorical:
            coded = CategoricalColumn.fit(table, name, min_count)
            if isinstance(coded, str):
                dropped[name] = coded
            else:
                categorical.append(coded)
        if not numeric and not categorical:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in dropped.items())
            raise DataError(
                f"{table.source}: no column can serve as a feature ({reasons or 'there is none'})"
            )
        return cls(tuple(source), tuple(dates), tuple(numeric), tuple(categorical), dropped)

    @property
    def columns(self) -> list[str]:
        """The columns that a new file must have."""
        return [
            *self.source,
            *(date.name for date in self.dates),
            *(column.name for column in self.categorical),
        ]

    @property
    def fields(self) -> dict[str, Field]:
        """The tensors of `transform`, for `DataSpec.inputs`."""
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
        """The rows of `table` as tensors.

        Raises:
            DataError: a column is missing, or holds what it cannot.
        """
        require_columns(table.frame, self.columns, table.source)
        x: Inputs = {}
        imputed: dict[str, int] = {}
        unknown: dict[str, int] = {}
        if self.numeric:
            # a row per column: to write column by column into rows would go through all of the memory each time
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
                if count:
                    unknown[coded.name] = count
            x["categorical"] = torch.from_numpy(np.ascontiguousarray(codes.T))
        return Encoded(x, imputed, unknown)

    def _numbers(self, table: Table) -> Iterator[np.ndarray]:
        """Raw values of each of `numeric`."""
        for name in self.source:
            yield table.numbers(name)
        kept = {column.name for column in self.numeric}
        for date in self.dates:
            for part, values in date.expand(table.moments(date.name)):
                if part in kept:
                    yield values

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, for a checkpoint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(
            tuple(state["source"]),
            tuple(DateColumn(d["name"], d["trend"], tuple(d["cycles"])) for d in state["dates"]),
            tuple(NumericColumn(**column) for column in state["numeric"]),
            tuple(CategoricalColumn(c["name"], tuple(c["vocabulary"])) for c in state["categorical"]),
            dict(state["dropped"]),
        )
