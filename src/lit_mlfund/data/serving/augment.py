"""Augmentation of whole batches of tensors, from given random numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

IMAGE_DRAWS = 5  # random numbers that `augment_images` needs for a row


def augment_images(
    images: Tensor, draws: Tensor, *, shift: float, rotation: float, crop: float = 1.0, flip: bool = False
) -> Tensor:
    """Each of `images [B, C, H, W]` cropped, shifted, rotated and perhaps mirrored, in one bilinear resampling.

    Args:
        images: what is outside of an image looks like its nearest edge.
        draws: `[B, IMAGE_DRAWS]` in [0, 1).
        shift: the largest shift, as a fraction of the side, either way along both axes.
        rotation: the largest rotation either way, in degrees.
        crop: the smallest side of a crop, as a fraction of the image's; crops are scaled to the full size.
        flip: mirror every other image, left to right.
    """
    turn, side, right, down, mirror = draws.unbind(1)
    angle = (2 * turn - 1) * math.radians(rotation)
    side = 1 - (1 - crop) * side
    aspect = images.shape[-2] / images.shape[-1]
    reach = 1 - side + 2 * shift  # of the centre of the window, where the image goes from -1 to 1
    sign = torch.where(mirror < 0.5, -1.0, 1.0) if flip else 1.0
    cosine, sine = side * angle.cos(), side * angle.sin()
    row_x = torch.stack([sign * cosine, -sine * aspect, (2 * right - 1) * reach], 1)
    row_y = torch.stack([sign * sine / aspect, cosine, (2 * down - 1) * reach], 1)
    grid = F.affine_grid(torch.stack([row_x, row_y], 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)


def mask_tokens(ids: Tensor, draws: Tensor, probability: float) -> Tensor:
    """`ids [B, T]` with some tokens turned into padding (0), which models do not look at; the others stay in place.

    A token is masked where its number of `draws [B, T]` is below `probability`. A text of which nothing would be left
    stays as it is.
    """
    kept = ids.masked_fill(draws < probability, 0)
    return torch.where(kept.any(1, keepdim=True), kept, ids)


def drop_tokens(ids: Tensor, draws: Tensor, probability: float) -> Tensor:
    """`ids [B, T]` with some tokens taken out and the rest moved up, as if they had never been there.

    Arguments as for `mask_tokens`.
    """
    kept = mask_tokens(ids, draws, probability)
    order = (kept == 0).to(torch.uint8).argsort(dim=1, stable=True)
    return kept.gather(1, order)
