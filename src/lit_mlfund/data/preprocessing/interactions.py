"""Encodes users, items, and the pairs of both, of timed interactions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_mlfund.data.preprocessing.column_types import infer_schema
from lit_mlfund.data.preprocessing.features import Preprocessor
from lit_mlfund.data.preprocessing.history import pack, unpack
from lit_mlfund.data.reading.read import require_columns
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.batch import Inputs, PairBatch
from lit_mlfund.data.serving.spec import Field
from lit_mlfund.data.serving.store import PairStore


@dataclass(frozen=True)
class Entities:
    """Holds users or items: an id, and the columns of a side table if there is one.

    names       those of train come first (`num_known` of them), then those that occur only elsewhere
    inputs      tensors `[len(names) + 1, …]`; the last row stands for any unknown id. Column 0 of
                `categorical` is the id: row + 1 for those of train, 0 for the others
    features    the fitted columns of the side table
    """

    column: str
    names: tuple[str, ...]
    num_known: int
    inputs: Inputs
    features: Preprocessor | None = None

    @classmethod
    def fit(
        cls,
        table: Table,
        column: str,
        train: NDArray[np.int64],
        side: Table | None = None,
        *,
        min_count: int = 5,
        categorical: Collection[str] = (),
    ) -> Self:
        """Collect the ids of a table of interactions, whose rows `train` are the training split.

        Args:
            side: one row per id, in `column`; its other columns are features.
            min_count, categorical: as in `Preprocessor.fit` and `infer_schema`.

        Raises:
            DataError: the side table lacks the column, or has a missing or duplicate id.
        """
        labels = table.labels(column)
        known = labels[train].unique(maintain_order=True)
        parts = [known, labels.unique(maintain_order=True)]
        if side is not None:
            parts.append(_unique_ids(side, column))
        names = tuple(pl.concat(parts).unique(maintain_order=True))
        code = np.zeros((len(names) + 1, 1), dtype=np.int64)
        code[: len(known), 0] = np.arange(1, len(known) + 1)
        entities = cls(column, names, len(known), {"categorical": torch.from_numpy(code)})
        if side is None:
            return entities
        side_rows = entities.rows(side.labels(column))
        trained = side.take(np.flatnonzero(side_rows < len(known)), "train")
        schema = infer_schema(side, roles=(column,), categorical=categorical)
        features = Preprocessor.fit(trained if len(trained) else side, schema, min_count=min_count)
        return entities._with_features(features, side, side_rows)

    def _with_features(self, features: Preprocessor, side: Table, side_rows: NDArray[np.int64]) -> Self:
        """Add the columns of `side`, whose rows are the entities `side_rows`; others get missing values."""
        missing = side.frame.clear(1)
        encoded = features.transform(Table.of(pl.concat([side.frame, missing]), side.source))
        row = np.full(len(self.names) + 1, len(side))
        row[side_rows] = np.arange(len(side))
        values = {name: tensor[torch.from_numpy(row)] for name, tensor in encoded.x.items()}
        codes = [self.inputs["categorical"], *([values["categorical"]] if "categorical" in values else [])]
        inputs = {**values, "categorical": torch.cat(codes, dim=1)}
        return replace(self, inputs=inputs, features=features)

    @property
    def fields(self) -> dict[str, Field]:
        """Describe the tensors of `inputs` for a model."""
        fields = {} if self.features is None else self.features.fields
        side = fields.get("categorical", Field("categorical", (0,)))
        names = (self.column, *side.names)
        sizes = (self.num_known + 1, *side.cardinalities)
        return {**fields, "categorical": Field("categorical", (len(names),), names, sizes)}

    def rows(self, labels: pl.Series) -> NDArray[np.int64]:
        """Return the row of each id `[N]`; `len(names)` for an unknown one."""
        frame = labels.alias("name").to_frame()
        frame = frame.join(self._row_of_name, on="name", how="left", maintain_order="left")
        return frame["row"].fill_null(len(self.names)).to_numpy(writable=True)

    @cached_property
    def _row_of_name(self) -> pl.DataFrame:
        return pl.DataFrame(
            {"name": pl.Series(self.names, dtype=pl.String), "row": np.arange(len(self.names))}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, for a checkpoint."""
        return {
            "column": self.column,
            "names": list(self.names),
            "num_known": self.num_known,
            "inputs": {name: pack(values.numpy()) for name, values in self.inputs.items()},
            "features": None if self.features is None else self.features.to_dict(),
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore the object from the result of `to_dict`."""
        inputs = {name: torch.from_numpy(unpack(values)) for name, values in state["inputs"].items()}
        features = None if state["features"] is None else Preprocessor.from_dict(state["features"])
        return cls(state["column"], tuple(state["names"]), state["num_known"], inputs, features)


@dataclass(frozen=True)
class InteractionStore(PairStore):
    """Adds to the queries of a `PairStore` a `history`: the items that their user took before.

    timeline `[N]` int32 holds items (row + 1) user after user; the past of pair p begins at `first[p]` and
    ends before `last[p]`. A batch gets the `history_length` latest items of it, oldest first.
    """

    timeline: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.int32))
    first: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    last: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    history_length: int = 1

    def subset(self, rows: slice) -> Self:
        """Return some of the pairs; users, items and the timeline are shared."""
        return replace(
            self,
            query_row=self.query_row[rows],
            item_id=self.item_id[rows],
            query_id=None if self.query_id is None else self.query_id[rows],
            weight=None if self.weight is None else self.weight[rows],
            index=None if self.index is None else self.index[rows],
            first=self.first[rows],
            last=self.last[rows],
        )

    def batch(self, index: Tensor) -> PairBatch:
        """Return the pairs at `index [B]`, `history [B, T]` int64 with T the longest of the batch."""
        batch = super().batch(index)
        last = self.last.index_select(0, index)
        start = torch.maximum(self.first.index_select(0, index), last - self.history_length)
        length = last - start
        position = torch.arange(max(1, int(length.max()) if len(index) else 0), device=index.device)
        known = position < length[:, None]
        rows = torch.where(known, start[:, None] + position, 0)
        history = torch.where(known, self.timeline[rows].long(), 0)
        return replace(batch, query={**batch.query, "history": history})


def timestamps_of(table: Table, column: str) -> NDArray[np.float64]:
    """Return a column of numbers, dates or ISO text as float64 `[N]` (dates in microseconds).

    Raises:
        DataError: missing cells, or text that is not a date.
    """
    series = table.frame[column]
    if series.dtype.is_numeric():
        values = table.numbers(column)
    else:
        values = table.timestamps(column).to_physical().cast(pl.Float64).to_numpy()
    if np.isnan(values).any():
        raise table.error(column, "the time is missing", np.isnan(values))
    return values


def _unique_ids(side: Table, column: str) -> pl.Series:
    require_columns(side.frame, [column], side.source)
    ids = side.labels(column)
    if ids.null_count():
        raise side.error(column, "the id is missing", ids.is_null())
    if ids.is_duplicated().any():
        raise side.error(column, "an id occurs more than once", ids.is_duplicated())
    return ids
