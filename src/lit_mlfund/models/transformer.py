"""Defines a transformer encoder for sequences of tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from lit_mlfund.models.attention import masked_mean, transformer_blocks
from lit_mlfund.models.heads import Head
from lit_mlfund.models.inputs import only_field

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec

Positions = Literal["learned", "sinusoidal", "none"]
Pooling = Literal["mean", "cls"]


class Transformer(nn.Module):
    """Encodes one sequence of tokens with a pre-norm transformer (Vaswani et al. 2017, arXiv 1706.03762).

    Id 0 is padding, which is never attended to. `positions="none"` treats the tokens as a set (hashed n-grams);
    `pooling` takes the mean over real tokens, or the output at a learned token in front of them ("cls"). Supports
    bfloat16 autocast, under which norms and softmax stay in fp32.

    `x[tokens] [B, T]` -> `[B, K]` for multi-class data, `[B]` otherwise.
    """

    tasks = ("binary", "multiclass", "regression")
    inputs = ("tokens",)

    waves: Tensor | None

    def __init__(
        self,
        spec: DataSpec,
        *,
        dim: int = 128,
        depth: int = 2,
        num_heads: int = 4,
        dropout: float = 0.1,
        positions: Positions = "learned",
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        self.tokens = only_field(self, spec, "tokens")
        if positions not in ("learned", "sinusoidal", "none"):
            raise ValueError(f"positions must be learned, sinusoidal or none, got {positions!r}")
        if pooling not in ("mean", "cls"):
            raise ValueError(f"pooling must be mean or cls, got {pooling!r}")
        field = spec.inputs[self.tokens]
        (length,) = field.shape
        self.embedding = nn.Embedding(field.cardinalities[0], dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions: nn.Embedding | None = None
        if positions == "learned":
            self.positions = nn.Embedding(length, dim)
            nn.init.normal_(self.positions.weight, std=0.02)
        waves = sinusoids(length, dim) if positions == "sinusoidal" else None
        self.register_buffer("waves", waves, persistent=False)
        self.start = nn.Parameter(torch.randn(dim) * 0.02) if pooling == "cls" else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = transformer_blocks(dim, depth, num_heads, dropout=dropout)
        self.norm = nn.LayerNorm(dim)
        self.head = Head(dim, spec)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        ids = x[self.tokens]
        mask = ids != 0
        hidden = self.embedding(ids)
        if self.positions is not None:
            hidden = hidden + self.positions.weight[: ids.shape[1]]
        elif self.waves is not None:
            hidden = hidden + self.waves[: ids.shape[1]]
        if self.start is not None:
            hidden = torch.cat([self.start.expand(len(ids), 1, -1), hidden], dim=1)
            mask = nn.functional.pad(mask, (1, 0), value=True)
        hidden = self.dropout(hidden)
        for block in self.blocks:
            hidden = block(hidden, mask)
        hidden = self.norm(hidden)
        return self.head(masked_mean(hidden, mask) if self.start is None else hidden[:, 0])


def sinusoids(length: int, dim: int) -> Tensor:
    """Return sines and cosines of geometrically spaced wavelengths, `[length, dim]` (Vaswani et al. 2017, §3.5).

    They are scaled to the standard deviation 0.02 of the token embeddings to which they are added.
    """
    if dim % 2:
        raise ValueError(f"sinusoidal positions need an even dim, got {dim}")
    frequency = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    angle = torch.arange(length)[:, None] * frequency
    return 0.02 * math.sqrt(2) * torch.cat([angle.sin(), angle.cos()], dim=1)
