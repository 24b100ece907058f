"""Embeds numbers, so that a small MLP can represent sharp thresholds and bumps."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NumericEmbedding = Literal["none", "periodic"]


class PeriodicEmbedding(nn.Module):
    """Embeds each of C numbers `[..., C]` as a vector `[..., C, dim]` of the number itself and waves of it.

    Cosines and sines of learned frequencies are followed by a linear layer per column and ReLU: "PLR" (Gorishniy et
    al. 2022, arXiv 2203.05556, §3.3, where the number itself is left out). Frequencies are initialised from
    N(0, `scale`²), in periods per unit of the standardised column. Tune `scale`: 0.1 keeps the embedding smooth,
    1 separates close values and overfits sooner.
    """

    def __init__(self, columns: int, dim: int = 9, *, num_frequencies: int = 24, scale: float = 1.0) -> None:
        super().__init__()
        if columns < 1 or dim < 2 or num_frequencies < 1:
            raise ValueError(
                "columns and num_frequencies must be at least 1, dim at least 2, got "
                f"columns={columns}, dim={dim} and num_frequencies={num_frequencies}"
            )
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be a positive number, got {scale}")
        self.dim = dim
        self.frequency = nn.Parameter(torch.randn(columns, num_frequencies) * scale)
        bound = (2 * num_frequencies) ** -0.5
        self.weight = nn.Parameter(torch.empty(columns, 2 * num_frequencies, dim - 1).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(columns, dim - 1))

    def forward(self, x: Tensor) -> Tensor:
        angle = 2 * math.pi * self.frequency * x.unsqueeze(-1)
        waves = torch.cat([angle.cos(), angle.sin()], dim=-1)  # [..., C, 2 num_frequencies]
        embedded = F.relu(torch.einsum("...cf,cfd->...cd", waves, self.weight) + self.bias)
        return torch.cat([x.unsqueeze(-1), embedded], dim=-1)
