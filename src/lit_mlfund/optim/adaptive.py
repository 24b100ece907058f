"""Adam and AdamW: a step size for each parameter from running moments of its gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from lit_mlfund.optim.native import Adam, AdamW, can_fuse, clippable


def adam(
    params: Iterable[Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    fused: bool | None = None,
) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980), with decay, if any, as an L2 penalty in the gradient.

    For results to compare with older ones; with decay, `adamw` is the better choice. 8 bytes per parameter.

    Args:
        params: parameters, (name, parameter) pairs, or groups of either (`parameter_groups`).
        lr: learning rate.
        betas: decay rates of the running mean and of the running uncentred variance.
        eps: added to the root of the variance.
        weight_decay: of groups that do not name their own; divided by the root of the variance like the rest
            of the gradient, so that it shrinks weights with large gradients less.
        fused: one kernel for all parameters; None: wherever that works.
    """
    params = list(params)
    return clippable(
        Adam(
            params,
            lr=lr,
            betas=(betas[0], betas[1]),
            eps=eps,
            weight_decay=weight_decay,
            fused=can_fuse(params) if fused is None else fused,
        )
    )


def adamw(
    params: Iterable[Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    fused: bool | None = None,
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101): Adam, with decay outside of the gradient.

    Every step first multiplies w by 1 - lr·weight_decay. The default here, and for transformers and sparse
    features anywhere. 8 bytes of state per parameter.

    Args:
        params: parameters, (name, parameter) pairs, or groups of either (`parameter_groups`).
        lr: learning rate; 1e-4 to 1e-3 for transformers.
        betas: decay rates of the running mean and of the running uncentred variance; (0.9, 0.95) for large
            language models.
        eps: added to the root of the variance.
        weight_decay: of groups that do not name their own.
        fused: one kernel for all parameters; None: wherever that works.
    """
    params = list(params)
    return clippable(
        AdamW(
            params,
            lr=lr,
            betas=(betas[0], betas[1]),
            eps=eps,
            weight_decay=weight_decay,
            fused=can_fuse(params) if fused is None else fused,
        )
    )
