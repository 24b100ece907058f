"""Creates optimizers with small state, for models that do not fit into memory otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from lit_mlfund.optim.extras import needs, not_with
from lit_mlfund.optim.groups import scale_rates
from lit_mlfund.optim.native import tensors


@not_with("fsdp")  # its row and column means do not support shards (torch 2.13)
def adafactor(
    params: Iterable[Any],
    *,
    lr: float = 1e-2,
    beta2_decay: float = -0.8,
    clip: float = 1.0,
    eps: float = 1e-3,
    weight_decay: float = 0.0,
    lr_by_pattern: Mapping[str, float] | None = None,
) -> torch.optim.Adafactor:
    """Create Adafactor (Shazeer & Stern 2018, arXiv 1804.04235), for models whose optimizer state does not fit.

    Stores only a row and a column of second moments per matrix: almost no memory.

    Args:
        params: parameters, (name, parameter) pairs, or groups of either (`parameter_groups`).
        lr: upper bound of the *relative* step: steps have size `max(eps, rms(w))·min(lr, 1/√t)`; not comparable with
            Adam's.
        beta2_decay: exponent of the rate `t**beta2_decay` at which the running variance forgets.
        clip: upper bound of an update's root mean square, before scaling by the relative step.
        eps: lower bound of `rms(w)` in the step size, so that zero weights can learn.
        weight_decay: default for groups without their own; decoupled.
        lr_by_pattern: factors of `lr` by shell pattern of a parameter's name, `{"*table*": 0.1}`; needs named ones.
    """
    params = scale_rates(params, lr, lr_by_pattern)
    return torch.optim.Adafactor(
        params, lr=lr, beta2_decay=beta2_decay, eps=(None, eps), d=clip, weight_decay=weight_decay
    )


@needs("bitsandbytes", extra="bitsandbytes")
@not_with("fsdp")
def adamw8bit(
    params: Iterable[Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    min_8bit_size: int = 4096,
    lr_by_pattern: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """Create AdamW with 8-bit moments (Dettmers et al. 2022, arXiv 2110.02861), at a quarter of AdamW's memory.

    For models whose optimizer state does not fit. 2 bytes of state per parameter, but 8 for tensors of fewer than
    `min_8bit_size` elements; raises ValueError if all tensors are that small. Needs the extra `bitsandbytes`.
    Arguments as for `adamw`.
    """
    params = scale_rates(params, lr, lr_by_pattern)
    largest = max((parameter.numel() for parameter in tensors(params)), default=0)
    if largest < min_8bit_size:
        raise ValueError(
            f"adamw8bit would keep all of its state in 32 bits: the largest parameter has {largest} elements, "
            f"fewer than min_8bit_size={min_8bit_size}; use adamw"
        )
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(
        params,
        lr=lr,
        betas=tuple(betas),
        eps=eps,
        weight_decay=weight_decay,
        min_8bit_size=min_8bit_size,
    )
