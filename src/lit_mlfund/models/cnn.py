"""A small convolutional network for small images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lit_mlfund.models.heads import Head
from lit_mlfund.models.inputs import check_fraction, only_field

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec


class CNN(nn.Module):
    """3×3 convolutions with batch norm, halved by max pooling while the image is at least 4 wide and high.

    One convolution for each number of `channels`; then `dropout`, and a linear layer over the positions that
    are left: in digits and other centred images, where something is matters. Small images (8×8 to 64×64), on
    a CPU within seconds.

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
        width, height, wide = spec.inputs[self.image].shape
        layers: list[nn.Module] = []
        for out_width in channels:
            layers += [
                nn.Conv2d(width, out_width, 3, padding=1, bias=False),
                nn.BatchNorm2d(out_width),
                nn.ReLU(),
            ]
            if min(height, wide) >= 4:
                layers.append(nn.MaxPool2d(2))
                height, wide = height // 2, wide // 2
            width = out_width
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout))
        self.head = Head(width * height * wide, spec)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.body(x[self.image]))
