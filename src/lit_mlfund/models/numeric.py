"""Embeds numbers, so that a small MLP can represent sharp thresholds and bumps."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

NumericEmbedding = Literal["none", "periodic", "periodic_linear", "piecewise_linear"]


def check_kind(kind: str) -> None:
    """Raise ValueError unless `kind` is a `NumericEmbedding`."""
    if kind not in (kinds := get_args(NumericEmbedding)):
        raise ValueError(f"numeric_embedding must be {', '.join(kinds[:-1])} or {kinds[-1]}, got {kind!r}")


def embed_numbers(kind: NumericEmbedding, columns: int, scale: float) -> nn.Module | None:
    """Create the embedding of a number of columns; None for `none`. `scale` is that of the frequencies."""
    if kind == "none":
        return None
    if kind == "piecewise_linear":
        return PiecewiseLinearEmbedding(columns)
    return PeriodicEmbedding(columns, scale=scale, relu=kind == "periodic")


class PeriodicEmbedding(nn.Module):
    """Embeds each of C numbers `[..., C]` as a vector `[..., C, dim]` of the number itself and waves of it.

    Cosines and sines of learned frequencies are followed by a linear layer per column and ReLU: "PLR" (Gorishniy et
    al. 2022, arXiv 2203.05556, §3.3, where the number itself is left out); "PL" without `relu`. Frequencies are
    initialised from N(0, `scale`²), in periods per unit of the standardised column. Tune `scale`: 0.1 keeps the
    embedding smooth, 1 separates close values and overfits sooner.
    """

    def __init__(
        self, columns: int, dim: int = 9, *, num_frequencies: int = 24, scale: float = 1.0, relu: bool = True
    ) -> None:
        super().__init__()
        if columns < 1 or dim < 2 or num_frequencies < 1:
            raise ValueError(
                "columns and num_frequencies must be at least 1, dim at least 2, got "
                f"columns={columns}, dim={dim} and num_frequencies={num_frequencies}"
            )
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be a positive number, got {scale}")
        self.dim = dim
        self.relu = relu
        self.frequency = nn.Parameter(torch.randn(columns, num_frequencies) * scale)
        bound = (2 * num_frequencies) ** -0.5
        self.weight = nn.Parameter(torch.empty(columns, 2 * num_frequencies, dim - 1).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(columns, dim - 1))

    def forward(self, x: Tensor) -> Tensor:
        angle = 2 * math.pi * self.frequency * x.unsqueeze(-1)
        waves = torch.cat([angle.cos(), angle.sin()], dim=-1)  # [..., C, 2 num_frequencies]
        embedded = torch.einsum("...cf,cfd->...cd", waves, self.weight) + self.bias
        return torch.cat([x.unsqueeze(-1), F.relu(embedded) if self.relu else embedded], dim=-1)


class PiecewiseLinearEmbedding(nn.Module):
    """Embeds each of C numbers `[..., C]` as a vector `[..., C, dim]` of the number itself and its place among bins.

    With the edges b_0 < … < b_T of a column's bins, t_i(x) = (x - b_{i-1}) / (b_i - b_{i-1}), cut to [0, 1], which is
    1 for bins below x and 0 for bins above; a linear layer per column follows (Gorishniy et al. 2022, arXiv
    2203.05556, §3.2, where the first and the last bin have no end; here the number itself goes on).

    The edges are quantiles of training rows (`fit`), before that those of the normal distribution. A column with
    fewer distinct quantiles than edges has fewer bins: the others have no width and are 0.
    """

    edges: Tensor
    fitted: Tensor

    def __init__(self, columns: int, dim: int = 9, *, num_bins: int = 32) -> None:
        super().__init__()
        if columns < 1 or dim < 2 or num_bins < 1:
            raise ValueError(
                "columns and num_bins must be at least 1, dim at least 2, got "
                f"columns={columns}, dim={dim} and num_bins={num_bins}"
            )
        self.dim = dim
        levels = (torch.arange(num_bins + 1) + 0.5) / (num_bins + 1)
        self.register_buffer("edges", torch.special.ndtri(levels).repeat(columns, 1))
        self.register_buffer("fitted", torch.tensor(False))
        self.weight = nn.Parameter(torch.empty(columns, num_bins, dim - 1).uniform_(-1, 1) * num_bins**-0.5)
        self.bias = nn.Parameter(torch.zeros(columns, dim - 1))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Set the edges to quantiles of the rows `[N, C]`."""
        levels = np.linspace(0, 1, self.edges.shape[1])
        for edges, column in zip(self.edges, x.cpu().numpy().T):
            distinct = np.unique(np.quantile(column, levels).astype(np.float32))
            edges[: len(distinct)] = torch.from_numpy(distinct)
            edges[len(distinct) :] = float(distinct[-1])
        self.fitted.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        lower, width = self.edges[:, :-1], self.edges.diff(dim=1)
        place = ((x.unsqueeze(-1) - lower) / width.where(width > 0, torch.inf)).clamp(0, 1)
        embedded = torch.einsum("...ct,ctd->...cd", place, self.weight) + self.bias
        return torch.cat([x.unsqueeze(-1), embedded], dim=-1)
