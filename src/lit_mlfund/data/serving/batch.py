"""Defines the batches that task modules train on: frozen dataclasses of tensors.

`x` is a dict of named tensors whose names and trailing shapes are those of `DataSpec.inputs`, after the
leading dimension(s). `index`, `query_id` and `item_id` point back to rows of the user's file, so that a finding
can name the row.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Movable:
    """Adds `to` and `pin_memory` to a dataclass whose fields are tensors, dicts of tensors, or None."""

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Return the same batch with every tensor moved; arguments as in `torch.Tensor.to`."""

        def move(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(*args, **kwargs)
            if isinstance(value, dict):
                return {name: move(part) for name, part in value.items()}
            return value

        return type(self)(*(move(getattr(self, field.name)) for field in dataclasses.fields(self)))

    def in_precision(self, dtype: torch.dtype) -> Self:
        """Return the same batch with floating-point inputs of type `dtype`; targets and weights stay as they are."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        inputs = {
            name: {key: part.to(dtype) if part.is_floating_point() else part for key, part in value.items()}
            for name, value in named.items()
            if isinstance(value, dict)
        }
        return dataclasses.replace(self, **inputs)

    def pin_memory(self) -> Self:
        """Return the same batch in page-locked memory, for an asynchronous copy to a GPU."""
        return pytree.tree_map_only(Tensor, lambda tensor: tensor.pin_memory(), self)

    def without_inputs(self, times: int) -> Self:
        """Return everything but `x`, `times` over along the first dimension: targets for as many models."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        repeated = {
            name: part.repeat(times, *(1,) * (part.ndim - 1))
            for name, part in parts.items()
            if isinstance(part, Tensor)
        }
        return type(self)(**{**parts, "x": {}, **repeated})


@dataclass(frozen=True)
class PointBatch(Movable):
    """Holds B examples of one target each: `x[name]` is `[B, …]`, `y [B]`, `weight [B]` or None, `index [B]`."""

    x: Inputs
    y: Tensor
    weight: Tensor | None = None
    index: Tensor | None = None

    def __len__(self) -> int:
        return self.y.shape[0]


@dataclass(frozen=True)
class MixedBatch(PointBatch):
    """Holds examples mixed in pairs: a share `share [B]` has target `y`, the rest has target `other [B]`.

    `other_weight [B]` is the weight of the example that was mixed in.
    """

    other: Tensor | None = None
    share: Tensor | None = None
    other_weight: Tensor | None = None

    def targets_and_weights(self) -> tuple[Tensor, Tensor]:
        """Return targets and weights `[2 B]` of the examples, followed by those of the examples mixed in."""
        assert self.other is not None and self.share is not None
        shares = torch.cat([self.share, 1 - self.share])
        if self.weight is not None and self.other_weight is not None:
            shares = shares * torch.cat([self.weight, self.other_weight])
        return torch.cat([self.y, self.other]), shares


@dataclass(frozen=True)
class ListBatch(Movable):
    """Holds Q queries of up to L documents: `x[name]` is `[Q, L, …]`, `relevance` and `mask` are `[Q, L]`.

    `mask` is True where a document is real; `query [Q]` numbers the query within its split, `weight [Q]` is
    the query's, and `index [Q, L]` is the row of the file (-1 on padding).
    """

    x: Inputs
    relevance: Tensor
    mask: Tensor
    query: Tensor | None = None
    weight: Tensor | None = None
    index: Tensor | None = None

    def __len__(self) -> int:
        return self.relevance.shape[0]


@dataclass(frozen=True)
class PairBatch(Movable):
    """Holds B positive (query, item) pairs: `query[name]` and `item[name]` are `[B, …]`.

    `item_id [B]` and `query_id [B]` tell which pairs share an item or a query; `negatives[name]` is
    `[N, …]`, further items that are not the positive of any pair in this batch; `log_q [B]` is the log of each
    item's sampling probability.
    """

    query: Inputs
    item: Inputs
    item_id: Tensor
    query_id: Tensor | None = None
    negatives: Inputs | None = None
    log_q: Tensor | None = None
    weight: Tensor | None = None
    index: Tensor | None = None

    def __len__(self) -> int:
        return self.item_id.shape[0]


Batch = PointBatch | ListBatch | PairBatch


def _register(cls: type) -> None:
    """Register `cls` as a pytree, so that Lightning, DDP and `torch.utils` see the tensors inside."""
    names = [field.name for field in dataclasses.fields(cls)]
    pytree.register_pytree_node(
        cls,
        lambda batch: ([getattr(batch, name) for name in names], None),
        lambda values, _: cls(*values),
        serialized_type_name=f"lit_mlfund.data.serving.batch.{cls.__name__}",
    )


for _cls in (PointBatch, MixedBatch, ListBatch, PairBatch):
    _register(_cls)


def concatenate(values: list[Tensor]) -> Tensor:
    """Concatenate buffered `[B, …]` tensors, zero-padding a second dimension that differs (ragged lists)."""
    if values[0].ndim > 1 and len({value.shape[1] for value in values}) > 1:
        width = max(value.shape[1] for value in values)
        values = [torch.nn.functional.pad(value, (0, width - value.shape[1])) for value in values]
    return torch.cat(values)
