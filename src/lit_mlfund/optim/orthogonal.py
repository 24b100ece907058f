"""Combines Muon for hidden matrices and AdamW for everything else in one optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch.optim import Optimizer

from lit_mlfund.optim.adaptive import adamw
from lit_mlfund.optim.combined import Combined
from lit_mlfund.optim.extras import MissingExtraError
from lit_mlfund.optim.groups import as_groups, scale_rates


def muon(
    params: Iterable[Any],
    *,
    lr: float = 1e-3,
    momentum: float = 0.95,
    nesterov: bool = True,
    weight_decay: float = 1e-2,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    adamw_for: tuple[str, ...] = ("*head*",),
    lr_by_pattern: Mapping[str, float] | None = None,
) -> Optimizer:
    """Create Muon, which orthogonalises the momentum of matrices, with AdamW for all other parameters.

    Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon. Needs fewer steps than AdamW for transformers and
    MLPs. The update of a matrix has singular values near 1 and is scaled to the size of AdamW's steps (Liu et al.
    2025, arXiv 2502.16982, eq. 4), so that AdamW's learning rate and weight decay carry over. AdamW trains vectors,
    convolutions, the group "no_decay" of `parameter_groups` (embeddings) and parameters whose names match
    `adamw_for`. 4 bytes of state per parameter of a matrix, 8 for the others. Needs torch >= 2.9.

    Args:
        params: parameters, (name, parameter) pairs, or groups of either (`parameter_groups`).
        lr: learning rate of both optimizers.
        momentum: of Muon.
        nesterov: use Nesterov momentum in Muon.
        weight_decay: default for groups without their own; decoupled.
        betas: of AdamW.
        eps: of AdamW.
        adamw_for: shell patterns of names of output layers; applies only to named parameters.
        lr_by_pattern: factors of `lr` by shell pattern of a parameter's name, `{"*table*": 0.1}`; needs named ones.
    """
    if not hasattr(torch.optim, "Muon"):
        raise MissingExtraError(f"muon needs torch >= 2.9, but version {torch.__version__} is installed")
    split: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for group in as_groups(scale_rates(params, lr, lr_by_pattern)):
        options = {key: value for key, value in group.items() if key != "params"}
        parts: dict[bool, list[Any]] = {True: [], False: []}
        for entry in group["params"]:
            name, parameter = entry if isinstance(entry, tuple) else ("", entry)
            is_hidden = parameter.ndim == 2 and not str(group.get("name", "")).startswith("no_decay")
            parts[is_hidden and not any(fnmatchcase(name, pattern) for pattern in adamw_for)].append(entry)
        for is_muon, entries in parts.items():
            if entries:
                algorithm = "muon" if is_muon else "adamw"
                overrides = {"params": entries, "algorithm": algorithm}
                if is_muon and "name" in options:
                    overrides["name"] = f"{options['name']} muon"
                split[is_muon].append({**options, **overrides})
    optimizers: list[Optimizer] = []
    if split[True]:
        optimizers.append(
            torch.optim.Muon(
                split[True],
                lr=lr,
                weight_decay=weight_decay,
                momentum=momentum,
                nesterov=nesterov,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    if split[False]:
        optimizers.append(adamw(split[False], lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))
    return Combined(optimizers)
