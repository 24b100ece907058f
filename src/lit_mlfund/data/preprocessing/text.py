"""Encodes a text column as token ids: narrow in memory, served without padding that a batch does not need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import polars as pl
import torch
from torch import Tensor

from lit_mlfund.data.preprocessing.features import Encoded
from lit_mlfund.data.preprocessing.table_encoder import Encoder, Roles
from lit_mlfund.data.preprocessing.target import Target
from lit_mlfund.data.preprocessing.tokenize import Tokenizer
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.batch import Inputs, PairBatch, PointBatch
from lit_mlfund.data.serving.spec import Field
from lit_mlfund.data.serving.store import PairStore, PointStore


def trim(inputs: Inputs) -> Inputs:
    """Convert token ids (inputs of dtype int32, `[B, T]`) to int64, cut to the longest row of each.

    The ids of a row come before its padding zeros; at least one column stays.
    """
    return {
        name: values[:, : _longest(values)].long() if values.dtype == torch.int32 else values
        for name, values in inputs.items()
    }


def _longest(ids: Tensor) -> int:
    used = (ids != 0).any(0).nonzero()
    return int(used[-1]) + 1 if len(used) else 1


@dataclass(frozen=True)
class TextStore(PointStore):
    """Stores token ids as int32 inputs; `lengths` lets a loader put texts of similar length together.

    `texts` are the texts themselves, for the reference models.
    """

    texts: pl.Series | None = None

    @property
    def lengths(self) -> Tensor:
        """Return the number of tokens of each example `[N]`."""
        ids = [values for values in self.x.values() if values.dtype == torch.int32]
        return torch.stack([(values != 0).sum(1) for values in ids]).sum(0)

    def batch(self, index: Tensor) -> PointBatch:
        """Return the examples at `index [B]`, token ids int64 `[B, T]` with T the longest of the batch."""
        batch = super().batch(index)
        return replace(batch, x=trim(batch.x))


@dataclass(frozen=True)
class TextPairStore(PairStore):
    """Stores pairs whose int32 inputs are token ids, of queries or of items."""

    def batch(self, index: Tensor) -> PairBatch:
        """Return the pairs at `index [B]`, token ids int64 and as short as the batch allows."""
        batch = super().batch(index)
        return replace(batch, query=trim(batch.query), item=trim(batch.item))


@dataclass(frozen=True)
class TextFeatures:
    """Encodes one column of text as the input `tokens`, in place of a `Preprocessor` of other columns."""

    column: str
    tokenizer: Tokenizer

    @property
    def columns(self) -> list[str]:
        """Return the columns that a new file must have."""
        return [self.column]

    @property
    def fields(self) -> dict[str, Field]:
        """Describe the tensor of `transform`, for `DataSpec.inputs`."""
        return {"tokens": self.tokenizer.field}

    def transform(self, table: Table) -> Encoded:
        """Return token ids int32 `[N, T]`; a missing text has none, and counts as imputed.

        Raises:
            DataError: the column holds no text.
        """
        if (dtype := table.frame.schema[self.column]).is_nested() or dtype == pl.Binary:
            raise DataError(f"{table.source}: column {self.column!r}: {dtype} where text belongs")
        texts = table.labels(self.column)
        missing = texts.null_count()
        ids = self.tokenizer(texts.fill_null("").to_list())
        return Encoded({"tokens": ids}, {self.column: missing} if missing else {}, {})

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, for a checkpoint."""
        return {"column": self.column, "tokenizer": self.tokenizer.to_dict()}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore the object from the result of `to_dict`."""
        return cls(state["column"], Tokenizer(**state["tokenizer"]))


@dataclass(frozen=True)
class TextEncoder(Encoder):
    """Encodes target and weight as in any table, and one column of text as the only feature."""

    features: TextFeatures  # type: ignore[assignment]  # has the members of a Preprocessor

    @classmethod
    def of(cls, train: Table, roles: Roles, features: TextFeatures, positive: str | None = None) -> Self:
        """Fit the target on the training split; hashed tokens need no fitting.

        Raises:
            DataError: as in `Target.fit`, or no row of train has a word.
        """
        target = Target.fit(train, roles.target, roles.task, positive)
        if not features.transform(train).x["tokens"].any():
            raise DataError(f"{train.source}: column {features.column!r}: no text in any row")
        return cls(roles, features, target)

    def store(self, table: Table, labelled: bool = True, part: bool = False) -> tuple[TextStore, Encoded]:
        """Encode the rows of `table`; without labels, the targets are 0."""
        store, encoded = super().store(table, labelled, part)
        assert isinstance(store, PointStore)  # a ranking has no such encoder
        texts = table.labels(self.features.column).fill_null("")
        return TextStore(store.x, store.y, store.weight, store.index, texts), encoded

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore the object from the result of `to_dict`."""
        roles: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in state["roles"].items()
        }
        features = TextFeatures.from_dict(state["features"])
        return cls(Roles(**roles), features, Target.from_dict(state["target"]))
