"""Creates Lion, which needs less state than AdamW, and schedule-free AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from lit_mlfund.optim.extras import needs
from lit_mlfund.optim.groups import scale_rates


@needs("pytorch_optimizer", extra="optim")
def lion(
    params: Iterable[Any],
    *,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.1,
    lr_by_pattern: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """Create Lion (Chen et al. 2023, arXiv 2302.06675), which moves every weight by ±lr.

    Works best with large batches. 4 bytes of state per parameter, half of AdamW's. Needs the extra `optim`.

    Args:
        params: parameters, (name, parameter) pairs, or groups of either (`parameter_groups`).
        lr: 3 to 10 times smaller than AdamW's.
        betas: weight of the momentum in the sign, and decay rate of the momentum.
        weight_decay: 3 to 10 times larger than AdamW's, since it acts as lr·weight_decay; decoupled.
        lr_by_pattern: factors of `lr` by shell pattern of a parameter's name, `{"*table*": 0.1}`; needs named ones.
    """
    from pytorch_optimizer import Lion

    params = scale_rates(params, lr, lr_by_pattern)
    return Lion(params, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay)


@needs("schedulefree", extra="optim")
def schedule_free(
    params: Iterable[Any],
    *,
    lr: float = 2.5e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    lr_by_pattern: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """Create schedule-free AdamW (Defazio et al. 2024, arXiv 2405.15682), for training of unknown length.

    Combine with `schedule=constant`, whose warm-up it needs. It evaluates an average of its iterates: call `.eval()`
    on the optimizer before validation and before saving weights, and `.train()` before training continues. Returned
    in training mode. 8 bytes of state per parameter. Needs the extra `optim`.

    Args:
        params: parameters, (name, parameter) pairs, or groups of either (`parameter_groups`).
        lr: 1 to 10 times AdamW's.
        betas: weight of the average in the point where gradients are taken, and decay rate of the running variance.
        eps: added to the root of the variance.
        weight_decay: default for groups without their own.
        lr_by_pattern: factors of `lr` by shell pattern of a parameter's name, `{"*table*": 0.1}`; needs named ones.
    """
    from schedulefree import AdamWScheduleFree

    params = scale_rates(params, lr, lr_by_pattern)
    optimizer = AdamWScheduleFree(params, lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay)
    optimizer.train()
    return optimizer
