"""Defines convolutional networks for small images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

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


class ResNet(nn.Module):
    """Applies a 3×3 stem, stages of residual blocks and global average pooling to small images.

    Stage i has `blocks[i]` basic blocks; each stage after the first doubles the width and halves the resolution.
    `blocks=[3, 3, 3], width=16` is ResNet-20 (He et al. 2015, arXiv 1512.03385, §4.2), with 1×1 convolutions where
    a shortcut changes the shape. Trains best with SGD at learning rate 0.1 and momentum 0.9.

    `x[image] [B, C, H, W]` -> `[B, K]` for multi-class data, `[B]` otherwise.
    """

    tasks = ("binary", "multiclass", "regression")
    inputs = ("image",)

    def __init__(
        self,
        spec: DataSpec,
        *,
        blocks: tuple[int, ...] = (2, 2, 2),
        width: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.image = only_field(self, spec, "image")
        check_fraction("dropout", dropout)
        if not blocks or min(blocks) < 1 or width < 1:
            raise ValueError(
                f"blocks and width must be positive, got blocks={list(blocks)} and width={width}"
            )
        layers: list[nn.Module] = [
            nn.Conv2d(spec.inputs[self.image].shape[0], width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        in_width = width
        for stage, num_blocks in enumerate(blocks):
            for block in range(num_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(BasicBlock(in_width, width << stage, stride))
                in_width = width << stage
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))
        self.head = Head(in_width, spec)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.body(x[self.image]))


class BasicBlock(nn.Module):
    """Adds two 3×3 convolutions to a shortcut; `[B, in_width, H, W]` -> `[B, width, H/stride, W/stride]`.

    The second norm's gain starts at zero, so that a new block equals its shortcut: deep stacks then tolerate a
    large learning rate from the first step (Goyal et al. 2017, arXiv 1706.02677, §5.1).
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm2.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_width != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_width, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))
