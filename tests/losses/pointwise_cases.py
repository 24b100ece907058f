"""Every loss of single rows with its options, and a batch for each."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from lit_mlfund import losses

REGRESSION = {
    "mse": (losses.mse_loss, losses.MSELoss, {}),
    "mae": (losses.mae_loss, losses.MAELoss, {}),
    "huber": (losses.huber_loss, losses.HuberLoss, {"delta": 0.7}),
    "quantile": (losses.quantile_loss, losses.QuantileLoss, {"quantile": 0.8}),
    "poisson": (losses.poisson_loss, losses.PoissonLoss, {}),
}
BINARY = {
    "bce": (losses.binary_cross_entropy_loss, losses.BinaryCrossEntropyLoss, {}),
    "bce options": (
        losses.binary_cross_entropy_loss,
        losses.BinaryCrossEntropyLoss,
        {"pos_weight": 3.0, "label_smoothing": 0.1},
    ),
    "binary hinge": (losses.hinge_loss, losses.HingeLoss, {"margin": 0.5}),
    "binary focal": (losses.focal_loss, losses.FocalLoss, {"gamma": 1.5, "alpha": 0.25}),
}
MULTICLASS = {
    "cross_entropy": (losses.cross_entropy_loss, losses.CrossEntropyLoss, {}),
    "cross_entropy options": (
        losses.cross_entropy_loss,
        losses.CrossEntropyLoss,
        {"label_smoothing": 0.1, "class_weight": [0.5, 1.0, 2.0, 0.0]},
    ),
    "hinge": (losses.hinge_loss, losses.HingeLoss, {}),
    "focal": (losses.focal_loss, losses.FocalLoss, {"gamma": 0.5, "class_weight": [0.5, 1.0, 2.0, 1.0]}),
}
LOSSES = REGRESSION | BINARY | MULTICLASS


def build(name: str):
    """A loss as a function of (output, target, weight)."""
    function, _, options = LOSSES[name]
    options = {k: torch.tensor(v) if isinstance(v, list) else v for k, v in options.items()}
    return partial(function, **options)


def batch(name: str, num_rows: int = 23, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Outputs in float64 and targets; every class occurs."""
    g = torch.Generator().manual_seed(3)
    if name in MULTICLASS:
        output = scale * torch.randn(num_rows, 4, generator=g, dtype=torch.float64)
        return output, torch.arange(num_rows) % 4
    output = scale * torch.randn(num_rows, generator=g, dtype=torch.float64)
    if name in BINARY:
        return output, (torch.rand(num_rows, generator=g) > 0.5).long()
    target = 2 * torch.randn(num_rows, generator=g, dtype=torch.float64)
    return output, target.abs().round() if name == "poisson" else target
