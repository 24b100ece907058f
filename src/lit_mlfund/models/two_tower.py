"""Defines a retrieval model that embeds queries and items in one space with two encoders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lit_mlfund.models.inputs import CategoricalEmbedding, TokenBag, check_fraction, check_spec
from lit_mlfund.models.mlp import hidden_layers

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec, Field


class TwoTower(nn.Module):
    """Embeds queries and items so that a query lies close to its items, each side from its own inputs.

    A side sums one `dim`-vector per categorical column, the bag of each text or history and a linear map of numbers
    and images: matrix factorisation, or search by shared words. `hidden` layers add interactions of these inputs
    (they start at zero). A side with a single id or text has nothing to combine and gets no hidden layers, which
    would only blur which words are equal.

    The two sides share tables for the same vocabulary. `share_tokens`: token inputs of the same vocabulary on both
    sides have one table, so that equal words match before any training. `share_history`: a query's token input whose
    vocabulary is that of a categorical item column (the user's history of item ids) uses that column's rows.

    `query[name]` and `item[name] [B, *field.shape]` -> two embeddings `[B, dim]`, not normalised.
    """

    tasks = ("retrieval",)
    inputs = ("numeric", "categorical", "tokens", "image")

    def __init__(
        self,
        spec: DataSpec,
        *,
        dim: int = 256,
        hidden: tuple[int, ...] = (256,),
        dropout: float = 0.0,
        code_dropout: float = 0.0,
        share_tokens: bool = True,
        share_history: bool = True,
    ) -> None:
        super().__init__()
        check_spec(self, spec)
        if not spec.items:
            raise ValueError("TwoTower needs inputs of both sides; the data has no item inputs")
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        items = {name: _make_encoder(field, dim, code_dropout) for name, field in spec.items.items()}
        queries = {}
        for name, field in spec.inputs.items():
            shared = None
            if field.kind == "tokens" and share_tokens:
                shared = _encoder_of_same_vocabulary(field, spec.items, items)
            if field.kind == "tokens" and share_history and shared is None:
                shared = _encoder_of_same_ids(field, spec.items, items)
            queries[name] = shared or _make_encoder(field, dim, code_dropout)
        self.query_tower = Tower(spec.inputs, queries, dim, hidden, dropout)
        self.item_tower = Tower(spec.items, items, dim, hidden, dropout)

    def forward(self, query: Mapping[str, Tensor], item: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        return self.encode_query(query), self.encode_item(item)

    def encode_query(self, x: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings `[B, dim]` of queries."""
        return self.query_tower(x)

    def encode_item(self, x: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings `[B, dim]` of items."""
        return self.item_tower(x)


class Tower(nn.Module):
    """Encodes one side as `[B, dim]`: the sum of its inputs' vectors, plus an MLP of them if there are several."""

    def __init__(
        self,
        fields: Mapping[str, Field],
        encoders: Mapping[str, nn.Module],
        dim: int,
        hidden: tuple[int, ...],
        dropout: float,
    ) -> None:
        super().__init__()
        check_fraction("dropout", dropout)
        self.kinds = {name: field.kind for name, field in fields.items()}
        self.encoders = nn.ModuleDict(encoders)
        columns = sum(len(f.cardinalities) if f.kind == "categorical" else 1 for f in fields.values())
        is_single_lookup = columns == 1 and not {"numeric", "image"} & set(self.kinds.values())
        self.deep: nn.Sequential | None = None
        if hidden and not is_single_lookup:
            last = nn.Linear(hidden[-1], dim)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.deep = nn.Sequential(*hidden_layers(columns * dim, hidden, dropout=dropout), last)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for name, kind in self.kinds.items():
            value = x[name].flatten(-3) if kind == "image" else x[name]
            embedded = self.encoders[name](value)
            parts.append(embedded if kind == "categorical" else embedded.unsqueeze(-2))
        vectors = torch.cat(parts, dim=-2)  # [B, columns, dim]
        output = vectors.sum(-2)
        return output if self.deep is None else output + self.deep(vectors.flatten(-2))


def _make_encoder(field: Field, dim: int, code_dropout: float) -> nn.Module:
    if field.kind == "categorical":
        return CategoricalEmbedding(field.cardinalities, dim, std=dim**-0.5, code_dropout=code_dropout)
    if field.kind == "tokens":
        return TokenBag(field.cardinalities[0], dim, std=dim**-0.5)
    return nn.Linear(math.prod(field.shape), dim)


def _encoder_of_same_vocabulary(
    field: Field, items: Mapping[str, Field], encoders: Mapping[str, Any]
) -> nn.Module | None:
    """Return the encoder of the first item token input of the same vocabulary, or None."""
    for name, other in items.items():
        if other.kind == "tokens" and other.cardinalities == field.cardinalities:
            return encoders[name]
    return None


def _encoder_of_same_ids(
    field: Field, items: Mapping[str, Field], encoders: Mapping[str, Any]
) -> nn.Module | None:
    """Build an encoder on the rows of the first categorical item column with as many ids; None if there is none."""
    for name, other in items.items():
        if other.kind == "categorical" and field.cardinalities[0] in other.cardinalities:
            start = sum(other.cardinalities[: other.cardinalities.index(field.cardinalities[0])])
            table = encoders[name].table
            return TokenBag(field.cardinalities[0], table.embedding_dim, table=table, offset=start)
    return None
