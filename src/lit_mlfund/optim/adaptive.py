"""Creates Adam and AdamW, which set each parameter's step size from running moments of its gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from lit_mlfund.optim.groups import scale_rates
from lit_mlfund.optim.native import Adam, AdamW, can_fuse, clippable


def adam(
    params: Iterable[Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    fused: bool | None = None,
    lr_by_pattern: Mapping[str, float] | None = None,
) -> torch.optim.Adam:
    """Create Adam (Kingma & Ba 2015, arXiv 1412.6980), with weight decay as an L2 penalty in the gradient.

    Use it to compare with older results; with weight decay, `adamw` is the better choice. 8 bytes of state per
    parameter.

    Args:
        params: parameters, (name, parameter) pairs, or groups of either (`parameter_groups`).
        lr: learning rate.
        betas: decay rates of the running mean and of the running uncentred variance.
        eps: added to the root of the variance.
        weight_decay: default for groups without their own; divided by the root of the variance like the rest of the
            gradient, so that weights with large gradients shrink less.
        fused: use one kernel for all parameters; None: where supported.
        lr_by_pattern: factors of `lr` by shell pattern of a parameter's name, `{"*table*": 0.1}`; needs named ones.
    """
    params = scale_rates(params, lr, lr_by_pattern)
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
    lr_by_pattern: Mapping[str, float] | None = None,
) -> torch.optim.AdamW:
    """Create AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101): Adam with decoupled weight decay.

    Every step first multiplies w by 1 - lr·weight_decay. The default of this package, and the usual choice for
    transformers and sparse features. 8 bytes of state per parameter.

    Args:
        params: parameters, (name, parameter) pairs, or groups of either (`parameter_groups`).
        lr: learning rate; 1e-4 to 1e-3 for transformers.
        betas: decay rates of the running mean and of the running uncentred variance; (0.9, 0.95) for large
            language models.
        eps: added to the root of the variance.
        weight_decay: default for groups without their own.
        fused: use one kernel for all parameters; None: where supported.
        lr_by_pattern: factors of `lr` by shell pattern of a parameter's name, `{"*table*": 0.1}`; needs named ones.
    """
    params = scale_rates(params, lr, lr_by_pattern)
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
