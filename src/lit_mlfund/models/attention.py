"""Defines the pre-norm transformer block that encoders, decoders and list models share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_mlfund.models.inputs import check_fraction


class Rotary(nn.Module):
    """Rotates pairs of coordinates of `[…, L, D]` by angles proportional to the position (RoPE).

    Products of a query and a key then depend on positions only through their distance. `length` is the largest L;
    D is even. Computes in float32 and returns the dtype of the input.

    Source: Su et al. 2021, arXiv 2104.09864, §3.2.2; pairs are (i, i + D/2), as in GPT-NeoX and Llama.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, dim: int, length: int) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"rotary positions need an even dim / num_heads, got {dim}")
        frequency = 10_000.0 ** (-torch.arange(0, dim, 2) / dim)
        angle = torch.arange(length)[:, None] * frequency
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        cos, sin = self.cos[: x.shape[-2]], self.sin[: x.shape[-2]]
        first, second = x.float().chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1).to(x.dtype)


class SelfAttention(nn.Module):
    """Applies multi-head self-attention to `[B, L, dim]`; `mask [B, L]` is True where a position may be attended to.

    A row of `mask` that is all False is treated as all True: the output is finite, but meaningless. With
    `causal_length`, the largest L, attention is causal, positions are rotary and `mask` must be None.
    """

    def __init__(self, dim: int, num_heads: int, *, causal_length: int | None = None) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"dim must be a multiple of num_heads, got dim={dim} and num_heads={num_heads}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.rotary = None if causal_length is None else Rotary(dim // num_heads, causal_length)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        heads = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # [B, heads, L, dim / heads] each
        if mask is not None:
            mask = (mask | ~mask.any(-1, keepdim=True))[:, None, None, :]
        causal = self.rotary is not None
        if self.rotary is not None:
            query, key = self.rotary(query), self.rotary(key)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.out(attended.transpose(1, 2).flatten(-2))


class TransformerBlock(nn.Module):
    """Adds attention, then a GELU layer of four times the width, to its input `[B, L, dim]`.

    Layer norm precedes both sublayers ("pre-norm", Xiong et al. 2020, arXiv 2002.04745), so that gradients reach
    the first layer undamped and warm-up can be short.
    """

    def __init__(
        self, dim: int, num_heads: int, *, dropout: float = 0.1, causal_length: int | None = None
    ) -> None:
        super().__init__()
        check_fraction("dropout", dropout)
        self.norm1 = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, num_heads, causal_length=causal_length)
        self.norm2 = nn.LayerNorm(dim)
        self.wide = nn.Linear(dim, 4 * dim)
        self.narrow = nn.Linear(4 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), mask))
        return x + self.dropout(self.narrow(F.gelu(self.wide(self.norm2(x)))))


def transformer_blocks(
    dim: int, depth: int, num_heads: int, *, dropout: float = 0.1, causal_length: int | None = None
) -> nn.ModuleList:
    """Build `depth` blocks with GPT-2's initialisation; `causal_length` as in `SelfAttention`.

    Weights have std 0.02; those of layers that add to the residual stream are divided by √(2 depth), so that the
    sum over all blocks starts as small as a single contribution. Source: Radford et al. 2019, §2.3.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    blocks = nn.ModuleList(
        TransformerBlock(dim, num_heads, dropout=dropout, causal_length=causal_length) for _ in range(depth)
    )
    for name, module in blocks.named_modules():
        if isinstance(module, nn.Linear):
            is_residual = name.endswith(("attention.out", "narrow"))
            nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * depth) if is_residual else 0.02)
            nn.init.zeros_(module.bias)
    return blocks


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean `[..., D]` over positions of `x [..., L, D]` where `mask [..., L]` is True; zeros if none is."""
    if mask is None:
        return x.mean(-2)
    mask = mask.unsqueeze(-1)
    return torch.where(mask, x, 0.0).sum(-2) / mask.sum(-2).clamp(min=1)
