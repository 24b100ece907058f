"""Defines a small convolutional network for small images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lit_mlfund.models.heads import Head
from lit_mlfund.models.inputs import check_fraction, only_field

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec


class CNN(nn.Module):
    """Stacks 3×3 convolutions with batch norm, and max pooling while both sides are at least 4 pixels.

    One convolution per entry of `channels`, then `dropout` and a linear layer over all remaining positions: in
    digits and other centred images, location matters. Trains on small images (8×8 to 64×64) on a CPU within
    seconds.

    `x[image] [B, C, H, W]` -> `[B, K]` for multi-class data, `[B]` otherwise.
    """

    tasks = ("binary", "multiclass", "regression")
    inputs = ("image",)

    def __init__(
        self, spec: DataSpec, *, channels: tuple[int, ...] = (32, 64, 128), dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.image = only_field(self, spec, "image")
        check_fraction("dropout", dropout)
        if not channels or min(channels) < 1:
            raise ValueError(f"channels must be positive widths, at least one, got {list(channels)}")
        in_channels, height, width = spec.inputs[self.image].shape
        layers: list[nn.Module] = []
        for out_channels in channels:
            layers += [
                nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(),
            ]
            if min(height, width) >= 4:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            in_channels = out_channels
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout))
        self.head = Head(in_channels * height * width, spec)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.body(x[self.image]))
