"""Defines a causal transformer that predicts the next token at every position of a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lit_mlfund.models.attention import transformer_blocks
from lit_mlfund.models.heads import Head
from lit_mlfund.models.inputs import only_field

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec


class Decoder(nn.Module):
    """Predicts the next token with a pre-norm causal transformer and rotary positions.

    Sources: GPT, Radford et al. 2019; RoPE, Su et al. 2021. The logits at a position depend on the tokens up to
    it, never on later ones. Supports bfloat16 autocast, under which norms, rotation and softmax stay in fp32.
    FSDP2 shards the `blocks` one by one.

    tie_embeddings            share the weight of the last layer with the token embeddings (Press & Wolf 2017)
    activation_checkpointing  store only each block's input for the backward pass and recompute the rest: saves
                              memory for a third more time. Results are identical, dropout included

    `x[sequence] [B, T]` -> logits `[B, T, K]`, T at most the length of the data's windows.
    """

    tasks = ("multiclass",)
    inputs = ("sequence",)

    def __init__(
        self,
        spec: DataSpec,
        *,
        dim: int = 128,
        depth: int = 4,
        num_heads: int = 4,
        dropout: float = 0.1,
        tie_embeddings: bool = False,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.sequence = only_field(self, spec, "sequence")
        field = spec.inputs[self.sequence]
        (self.length,) = field.shape
        self.embedding = nn.Embedding(field.cardinalities[0], dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = transformer_blocks(dim, depth, num_heads, dropout=dropout, causal_length=self.length)
        self.norm = nn.LayerNorm(dim)
        self.head = Head(dim, spec)
        if tie_embeddings:
            if self.head.weight.shape != self.embedding.weight.shape:
                raise ValueError("tie_embeddings needs targets of the same vocabulary as the inputs")
            self.head.weight = self.embedding.weight
        self.activation_checkpointing = activation_checkpointing

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        hidden = self.dropout(self.embedding(x[self.sequence]))
        for block in self.blocks:
            if self.activation_checkpointing and self.training:
                hidden = checkpoint(block, hidden, use_reentrant=False)
            else:
                hidden = block(hidden)
        return self.head(self.norm(hidden))

    @torch.no_grad()
    def generate(self, ids: Tensor, num_tokens: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the sequences `ids [B, T]` extended by `num_tokens` tokens sampled from the model."""
        for _ in range(num_tokens):
            # not `self(…)`: a compiled model would be recompiled for every length
            logits = self.forward({self.sequence: ids[:, -self.length :]})[:, -1]
            sampled = torch.multinomial(logits.float().softmax(-1), 1, generator=generator)
            ids = torch.cat([ids, sampled], dim=1)
        return ids
