"""Defines models that score the documents of a query, each alone or in the context of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lit_mlfund.models.attention import masked_mean, transformer_blocks
from lit_mlfund.models.heads import Head
from lit_mlfund.models.inputs import InputEncoder, check_spec
from lit_mlfund.models.mlp import Activation, Norm, hidden_layers
from lit_mlfund.models.numeric import NumericEmbedding

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec


class ListMLP(nn.Module):
    """Scores each document of a list with an MLP on its features and their deviations from the list's mean.

    A ranking depends only on differences within a query; `relative` supplies these as inputs, so that the network
    need not learn them. `relative=False` scores each document independently, as `MLP` does. `numeric_embedding` as
    in `MLP`.

    `x[name] [Q, L, *field.shape]`, `mask [Q, L]` True where a document is real (None: everywhere) -> scores
    `[Q, L]`.
    """

    tasks = ("ranking",)
    inputs = ("numeric", "categorical", "tokens", "image")

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: tuple[int, ...] = (128, 64),
        dropout: float = 0.1,
        activation: Activation = "relu",
        norm: Norm = "layer",
        relative: bool = True,
        embedding_dim: int | None = None,
        token_dim: int = 64,
        code_dropout: float = 0.0,
        numeric_embedding: NumericEmbedding = "none",
        frequency_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_spec(self, spec)
        self.relative = relative
        self.encoder = InputEncoder(
            spec.inputs,
            embedding_dim=embedding_dim,
            token_dim=token_dim,
            code_dropout=code_dropout,
            numeric_embedding=numeric_embedding,
            frequency_scale=frequency_scale,
        )
        dim = self.encoder.dim * (2 if relative else 1)
        self.body = hidden_layers(dim, hidden, dropout=dropout, activation=activation, norm=norm)
        self.head = Head(hidden[-1] if hidden else dim, spec)

    def forward(self, x: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        documents = self.encoder(x)
        if self.relative:
            centred = documents - masked_mean(documents, mask).unsqueeze(-2)
            documents = torch.cat([documents, centred], dim=-1)
        return self.head(self.body(documents))


class ListAttention(nn.Module):
    """Applies self-attention over the documents of a query, so that each score depends on the other documents.

    Without positional encodings: permuting the documents permutes their scores. After Pobrotyn et al. 2020 (arXiv
    2005.10084). Memory grows with L² per query.

    `x[name] [Q, L, *field.shape]`, `mask [Q, L]` True where a document is real (None: everywhere) -> scores
    `[Q, L]`.
    """

    tasks = ("ranking",)
    inputs = ("numeric", "categorical", "tokens", "image")

    def __init__(
        self,
        spec: DataSpec,
        *,
        dim: int = 64,
        depth: int = 2,
        num_heads: int = 2,
        dropout: float = 0.1,
        embedding_dim: int | None = None,
        token_dim: int = 64,
        code_dropout: float = 0.0,
        numeric_embedding: NumericEmbedding = "none",
        frequency_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_spec(self, spec)
        self.encoder = InputEncoder(
            spec.inputs,
            embedding_dim=embedding_dim,
            token_dim=token_dim,
            code_dropout=code_dropout,
            numeric_embedding=numeric_embedding,
            frequency_scale=frequency_scale,
        )
        self.project = nn.Sequential(nn.Linear(self.encoder.dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.blocks = transformer_blocks(dim, depth, num_heads, dropout=dropout)
        self.norm = nn.LayerNorm(dim)
        self.head = Head(dim, spec)

    def forward(self, x: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        hidden = self.project(self.encoder(x))
        for block in self.blocks:
            hidden = block(hidden, mask)
        return self.head(self.norm(hidden))
