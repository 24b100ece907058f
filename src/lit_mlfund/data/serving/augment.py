"""Augments whole batches of tensors, driven by random numbers that the caller supplies."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

IMAGE_DRAWS = 5  # random numbers that `augment_images` needs per row


def augment_images(
    images: Tensor, draws: Tensor, *, shift: float, rotation: float, crop: float = 1.0, flip: bool = False
) -> Tensor:
    """Crop, shift, rotate and optionally mirror each of `images [B, C, H, W]` in one bilinear resampling.

    Args:
        images: outside of an image, its nearest edge pixels are repeated.
        draws: `[B, IMAGE_DRAWS]` in [0, 1).
        shift: the largest shift in either direction along both axes, as a fraction of the side.
        rotation: the largest rotation in either direction, in degrees.
        crop: the smallest side of a crop, as a fraction of the image's; crops are scaled to the full size.
        flip: mirror images left to right with probability 0.5.
    """
    turn, side, right, down, mirror = draws.unbind(1)
    angle = (2 * turn - 1) * math.radians(rotation)
    side = 1 - (1 - crop) * side
    aspect = images.shape[-2] / images.shape[-1]
    reach = 1 - side + 2 * shift  # of the window's centre, in coordinates where the image spans -1 to 1
    sign = torch.where(mirror < 0.5, -1.0, 1.0) if flip else 1.0
    cosine, sine = side * angle.cos(), side * angle.sin()
    row_x = torch.stack([sign * cosine, -sine * aspect, (2 * right - 1) * reach], 1)
    row_y = torch.stack([sign * sine / aspect, cosine, (2 * down - 1) * reach], 1)
    grid = F.affine_grid(torch.stack([row_x, row_y], 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)


def mask_tokens(ids: Tensor, draws: Tensor, probability: float) -> Tensor:
    """Replace some tokens of `ids [B, T]` by padding (0), which models ignore; the others stay in place.

    A token is masked where its entry of `draws [B, T]` is below `probability`. A text that would lose all of its tokens
    stays unchanged.
    """
    masked = ids.masked_fill(draws < probability, 0)
    return torch.where(masked.any(1, keepdim=True), masked, ids)


def drop_tokens(ids: Tensor, draws: Tensor, probability: float) -> Tensor:
    """Remove some tokens of `ids [B, T]` and move the rest up, as if they had never been there.

    Takes the same arguments as `mask_tokens`.
    """
    masked = mask_tokens(ids, draws, probability)
    order = (masked == 0).to(torch.uint8).argsort(dim=1, stable=True)
    return masked.gather(1, order)
