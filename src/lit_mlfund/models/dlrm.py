"""Deep learning recommendation model: embeddings and their pairwise products."""

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
    """Every two embeddings meet in a dot product, for an MLP to read (Naumov et al. 2019, arXiv 1906.00091).

    The numeric columns become one more embedding through the `bottom` MLP (a learned constant, where there are
    none); the `top` MLP reads that one and all products. For clicks and other data whose signal lies in pairs
    of categories.

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
            raise ValueError("DLRM needs categorical columns or tokens; the data has numbers only (see MLP)")
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, got {embedding_dim}")
        self.numeric = [name for name, field in fields if field.kind == "numeric"]
        self.encoders = nn.ModuleDict()
        vectors = 1
        for name, field in fields:
            if field.kind == "categorical":
                self.encoders[name] = CategoricalEmbedding(
                    field.cardinalities, embedding_dim, std=embedding_dim**-0.5, code_dropout=code_dropout
                )
                vectors += len(field.cardinalities)
            elif field.kind == "tokens":
                self.encoders[name] = TokenBag(field.cardinalities[0], embedding_dim, std=embedding_dim**-0.5)
                vectors += 1
        dense = sum(math.prod(spec.inputs[name].shape) for name in self.numeric)
        if self.numeric:
            last = nn.Linear(bottom[-1] if bottom else dense, embedding_dim)
            self.bottom = nn.Sequential(*hidden_layers(dense, bottom), last)
        else:
            self.constant = nn.Parameter(torch.randn(embedding_dim) * embedding_dim**-0.5)
        row, column = torch.tril_indices(vectors, vectors, -1)
        self.register_buffer("pairs", row * vectors + column, persistent=False)
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
