"""Defines the deep learning recommendation model: embeddings and their pairwise products."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lit_mlfund.models.heads import Head
from lit_mlfund.models.inputs import CategoricalEmbedding, TokenBag, check_spec
from lit_mlfund.models.mlp import hidden_layers

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec


class DLRM(nn.Module):
    """Feeds the dot products of all pairs of embeddings to an MLP (Naumov et al. 2019, arXiv 1906.00091).

    The `bottom` MLP maps the numeric columns to one more embedding (a learned constant if there are none); the
    `top` MLP reads that embedding and all products. Suits clicks and other data whose signal lies in pairs of
    categories.

    `x[name] [B, *field.shape]` -> `[B, K]` for multi-class data, `[B]` otherwise.
    """

    tasks = ("binary", "multiclass", "regression")
    inputs = ("numeric", "categorical", "tokens")

    pairs: Tensor

    def __init__(
        self,
        spec: DataSpec,
        *,
        embedding_dim: int = 16,
        bottom: tuple[int, ...] = (64,),
        top: tuple[int, ...] = (128, 64),
        dropout: float = 0.1,
        code_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_spec(self, spec)
        fields = spec.inputs.items()
        if all(field.kind == "numeric" for _, field in fields):
            raise ValueError(
                "DLRM needs categorical columns or tokens; the data has only numeric inputs (use MLP)"
            )
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, got {embedding_dim}")
        self.numeric = [name for name, field in fields if field.kind == "numeric"]
        self.encoders = nn.ModuleDict()
        num_vectors = 1
        for name, field in fields:
            if field.kind == "categorical":
                self.encoders[name] = CategoricalEmbedding(
                    field.cardinalities, embedding_dim, std=embedding_dim**-0.5, code_dropout=code_dropout
                )
                num_vectors += len(field.cardinalities)
            elif field.kind == "tokens":
                self.encoders[name] = TokenBag(field.cardinalities[0], embedding_dim, std=embedding_dim**-0.5)
                num_vectors += 1
        num_features = sum(math.prod(spec.inputs[name].shape) for name in self.numeric)
        if self.numeric:
            last = nn.Linear(bottom[-1] if bottom else num_features, embedding_dim)
            self.bottom = nn.Sequential(*hidden_layers(num_features, bottom), last)
        else:
            self.constant = nn.Parameter(torch.randn(embedding_dim) * embedding_dim**-0.5)
        row, column = torch.tril_indices(num_vectors, num_vectors, -1)
        self.register_buffer("pairs", row * num_vectors + column, persistent=False)
        width = embedding_dim + len(row)
        self.top = hidden_layers(width, top, dropout=dropout)
        self.head = Head(top[-1] if top else width, spec)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        embedded = [encoder(x[name]) for name, encoder in self.encoders.items()]
        if self.numeric:
            dense = self.bottom(torch.cat([x[name] for name in self.numeric], dim=-1))
        else:
            dense = self.constant.expand(len(embedded[0]), -1)
        vectors = torch.cat([v if v.ndim == 3 else v.unsqueeze(1) for v in [dense, *embedded]], dim=1)
        products = (vectors @ vectors.transpose(1, 2)).flatten(1).index_select(1, self.pairs)
        return self.head(self.top(torch.cat([dense, products], dim=-1)))
