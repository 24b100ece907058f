"""Encodes rows of a table as a store: features, target, weight and lists, as fitted on the training split."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from torch import Tensor

from lit_mlfund.data.preprocessing.column_types import infer_schema
from lit_mlfund.data.preprocessing.features import Encoded, Preprocessor
from lit_mlfund.data.preprocessing.target import Target
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.group_rows import group_rows, standardize_within
from lit_mlfund.data.reading.read import require_columns
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.spec import DataSpec, Field, Task
from lit_mlfund.data.serving.store import ListStore, PointStore


@dataclass(frozen=True)
class Roles:
    """Assigns roles to the columns of a table; a column without one is a feature.

    target      the column to predict
    query       identifies the rows of one list (ranking only)
    weight      weight of an example; a query has the mean of its rows
    time        the column that the split follows: the cycles of a date remain features, a trend or a number does not
    exclude     columns that are not features
    categorical columns whose numbers are codes
    """

    task: Task
    target: str
    query: str | None = None
    weight: str | None = None
    time: str | None = None
    exclude: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.task == "ranking" and self.query is None:
            raise ValueError("task=ranking needs data.query: the column that tells which rows are one list")
        if self.task != "ranking" and self.query is not None:
            raise ValueError(
                f"data.query is for task=ranking; for task={self.task}, data.group keeps rows together"
            )

    def required(self, labelled: bool) -> list[str | None]:
        """Return the columns with a role that any file must have."""
        return [self.query, *((self.target, self.weight) if labelled else ())]


@dataclass(frozen=True)
class Encoder:
    """Holds the fitted preprocessing of a table and of its target.

    `per_query` controls the numeric features of a ranking: `none` leaves them, `replace` standardises them
    within their query, `append` adds the standardised ones to them.
    """

    roles: Roles
    features: Preprocessor
    target: Target
    per_query: str = "none"

    @classmethod
    def fit(
        cls,
        train: Table,
        roles: Roles,
        *,
        positive: str | None = None,
        min_count: int = 5,
        per_query: str = "none",
        target: Target | None = None,
    ) -> Self:
        """Fit on the training split; arguments and errors as in `Target.fit` and `Preprocessor.fit`.

        A `target` that was already fitted, on more rows than these, is used as it is.
        """
        if per_query not in ("none", "replace", "append"):
            raise ValueError(f"per_query must be none, replace or append, got {per_query!r}")
        target = target or Target.fit(train, roles.target, roles.task, positive)
        excluded = dict.fromkeys(roles.exclude, "excluded on request")
        if roles.time is not None and train.frame.schema[roles.time].is_numeric():
            excluded[roles.time] = "the split follows it"
        schema = infer_schema(train, roles.required(labelled=True), excluded, roles.categorical)
        features = Preprocessor.fit(train, schema, min_count=min_count, time=roles.time)
        return cls(roles, features, target, per_query)

    def without(self, reasons: Mapping[str, str], source: str) -> Self:
        """Return the encoder without some of its categories, as `Preprocessor.without` does."""
        return dataclasses.replace(self, features=self.features.without(reasons, source))

    def store(
        self, table: Table, labelled: bool = True, part: bool = False
    ) -> tuple[PointStore | ListStore, Encoded]:
        """Encode the rows of `table`; without labels, the targets are 0.

        In a `part` of a split, all weights may be 0.

        Raises:
            DataError: missing columns, missing or impossible values, a query without documents.
        """
        rows, encoded = self.encode_rows(table, labelled)
        x, y, weight, index = rows.x, rows.y, rows.weight, rows.index
        assert index is not None
        if not part and weight is not None and not weight.any():
            raise zero_weights_error(table.source, self.roles.weight)
        if self.roles.query is None:
            return rows, encoded

        order, offsets = (torch.from_numpy(array) for array in group_rows(table.codes(self.roles.query)))
        x = {name: values[order] for name, values in x.items()}
        if self.per_query != "none" and "numeric" in x:
            relative = standardize_within(x["numeric"], offsets)
            x["numeric"] = torch.cat([x["numeric"], relative], 1) if self.per_query == "append" else relative
        if weight is not None:
            weight = torch.segment_reduce(weight[order], "mean", offsets=offsets)
        return ListStore(x, y[order], offsets, weight, index[order]), encoded

    def encode_rows(self, table: Table, labelled: bool = True) -> tuple[PointStore, Encoded]:
        """Encode rows as `store` does, but without grouping them into lists; all weights may be 0."""
        require_columns(table.frame, [*self.roles.required(labelled), *self.features.columns], table.source)
        if self.roles.query is not None:
            check_queries(table, self.roles.query)
        if labelled:
            y = self.target.encode(table)
        else:
            y = torch.zeros(
                len(table), dtype=torch.int64 if self.roles.task == "multiclass" else torch.float32
            )
        weight = _weights(table, self.roles.weight) if labelled and self.roles.weight else None
        encoded = self.features.transform(table)
        return PointStore(encoded.x, y, weight, torch.from_numpy(table.rows)), encoded

    def spec(self, num_train: int) -> DataSpec:
        """Describe the encoded data for a model."""
        fields = self.features.fields
        if self.per_query == "append" and "numeric" in fields:
            names = fields["numeric"].names
            names = (*names, *(f"{name} (within query)" for name in names))
            fields["numeric"] = Field("numeric", (len(names),), names)
        target = self.target
        return DataSpec(
            self.roles.task,
            fields,
            classes=target.classes,
            target=target.name,
            target_mean=target.mean,
            target_std=target.std,
            num_train=num_train,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, for a checkpoint."""
        roles = {
            name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self.roles).items()
        }
        return {
            "roles": roles,
            "features": self.features.to_dict(),
            "target": self.target.to_dict(),
            "per_query": self.per_query,
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore the object from the result of `to_dict`."""
        roles: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in state["roles"].items()
        }
        return cls(
            Roles(**roles),
            Preprocessor.from_dict(state["features"]),
            Target.from_dict(state["target"]),
            state["per_query"],
        )


def check_queries(table: Table, query: str) -> None:
    """Raise a DataError for a row without a query, or a query without documents (as a left join leaves)."""
    missing = table.labels(query).is_null()
    if missing.any():
        raise table.error(query, "the query is missing", missing)
    others = [name for name in table.frame.columns if name != query]
    empty = table.frame.select(pl.all_horizontal(pl.col(others).is_null())).to_series()
    if empty.any():
        label = table.frame[query].filter(empty)[0]
        raise table.error(query, f"query {label!r} has no documents: nothing else stands in the row", empty)


def zero_weights_error(source: str, name: str | None) -> DataError:
    """Build the error for a split with only zero weights, which can be neither trained on nor measured on."""
    return DataError(f"{source}: column {name!r}: all weights are 0")


def _weights(table: Table, name: str) -> Tensor:
    values = table.numbers(name)
    bad = ~(values >= 0)
    if bad.any():
        raise table.error(name, "a weight must be a number of 0 or more", bad)
    return torch.from_numpy(values.astype(np.float32))
