"""Two encoders, one for queries and one for items, into one space."""

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
    """Embeds queries and items so that a query lies close to its items; each side from its own inputs.

    A side is the sum of one `dim`-vector per categorical column, the summed vectors of each text or history and
    a linear map of numbers and images: matrix factorisation, or a search by shared words. `hidden` layers add
    what depends on several of these at once (they start at zero). A side that is one id or one text has
    nothing to combine and gets none: they would only forget which words are equal.

    The two sides share tables where they speak of the same things. `share_tokens`: token inputs of the same
    vocabulary on both sides have one table, so that equal words pull together before any training.
    `share_history`: a query's token input whose vocabulary is that of a categorical item column (the
    user's history of item ids) uses that column's rows.

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
        items = {name: _embed(field, dim, code_dropout) for name, field in spec.items.items()}
        queries = {}
        for name, field in spec.inputs.items():
            shared = None
            if field.kind == "tokens" and share_tokens:
                shared = _same_words(field, spec.items, items)
            if field.kind == "tokens" and share_history and shared is None:
                shared = _same_ids(field, spec.items, items)
            queries[name] = shared or _embed(field, dim, code_dropout)
        self.query_tower = Tower(spec.inputs, queries, dim, hidden, dropout)
        self.item_tower = Tower(spec.items, items, dim, hidden, dropout)

    def forward(self, query: Mapping[str, Tensor], item: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        return self.encode_query(query), self.encode_item(item)

    def encode_query(self, x: Mapping[str, Tensor]) -> Tensor:
        """Embeddings `[B, dim]` of queries."""
        return self.query_tower(x)

    def encode_item(self, x: Mapping[str, Tensor]) -> Tensor:
        """Embeddings `[B, dim]` of items."""
        return self.item_tower(x)


class Tower(nn.Module):
    """One side: the sum of its inputs' vectors, plus an MLP of them where it has several; `[B, dim]`."""

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
        lookup = columns == 1 and not {"numeric", "image"} & set(self.kinds.values())
        self.deep: nn.Sequential | None = None
        if hidden and not lookup:
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


def _embed(field: Field, dim: int, code_dropout: float) -> nn.Module:
    if field.kind == "categorical":
        return CategoricalEmbedding(field.cardinalities, dim, std=dim**-0.5, code_dropout=code_dropout)
    if field.kind == "tokens":
        return TokenBag(field.cardinalities[0], dim, std=dim**-0.5)
    return nn.Linear(math.prod(field.shape), dim)


def _same_words(field: Field, items: Mapping[str, Field], encoders: Mapping[str, Any]) -> nn.Module | None:
    """The encoder of an item's tokens of the same vocabulary."""
    for name, other in items.items():
        if other.kind == "tokens" and other.cardinalities == field.cardinalities:
            return encoders[name]
    return None


def _same_ids(field: Field, items: Mapping[str, Field], encoders: Mapping[str, Any]) -> nn.Module | None:
    """Reads ids from the rows of the first categorical item column that has as many."""
    for name, other in items.items():
        if other.kind == "categorical" and field.cardinalities[0] in other.cardinalities:
            start = sum(other.cardinalities[: other.cardinalities.index(field.cardinalities[0])])
            table = encoders[name].table
            return TokenBag(field.cardinalities[0], table.embedding_dim, table=table, offset=start)
    return None
