"""Creates stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from lit_mlfund.optim.groups import scale_rates
from lit_mlfund.optim.native import SGD, can_fuse, clippable


def sgd(
    params: Iterable[Any],
    *,
    lr: float = 0.1,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 5e-4,
    fused: bool | None = None,
    lr_by_pattern: Mapping[str, float] | None = None,
) -> torch.optim.SGD:
    """Create SGD with momentum, the default for convolutional networks, at half of Adam's memory.

    Weight decay is added to the gradient (L2 penalty ½ weight_decay ‖w‖²). 4 bytes of state per parameter.

    Args:
        params: parameters, (name, parameter) pairs, or groups of either (`parameter_groups`).
        lr: 0.1 with batch norm; 0.01 without.
        momentum: 0 for none.
        nesterov: use Nesterov momentum (Sutskever et al. 2013).
        weight_decay: default for groups without their own.
        fused: use one kernel for all parameters; None: where supported.
        lr_by_pattern: factors of `lr` by shell pattern of a parameter's name, `{"*table*": 0.1}`; needs named ones.
    """
    params = scale_rates(params, lr, lr_by_pattern)
    return clippable(
        SGD(
            params,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            fused=can_fuse(params, shards=False) if fused is None else fused,
        )
    )
