"""torch's own optimizers as they are used here: without its compiler, and with fused kernels where these apply.

Each method of `torch.optim` keeps the compiler away from itself at every call, for which it imports it: 0.7 CPU seconds
in the first constructor, and calls in each step. `Adam`, `AdamW` and `SGD` here are the same to the bit without that.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import unwrap
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

DEVICES = ("cpu", "cuda", "mps", "xpu")
OptimizerT = TypeVar("OptimizerT", bound=Optimizer)


def _step(optimizer: type[Optimizer]) -> Any:
    """The step of `optimizer` with gradients off, which is what is left of torch's own decorators."""
    return torch.no_grad()(unwrap(optimizer.step))


class _Eager(Optimizer):
    add_param_group: Any = unwrap(Optimizer.add_param_group)
    zero_grad: Any = unwrap(Optimizer.zero_grad)
    state_dict: Any = unwrap(Optimizer.state_dict)
    load_state_dict: Any = unwrap(Optimizer.load_state_dict)


class Adam(_Eager, torch.optim.Adam):
    step: Any = _step(torch.optim.Adam)


class AdamW(_Eager, torch.optim.AdamW):
    step: Any = _step(torch.optim.AdamW)


class SGD(_Eager, torch.optim.SGD):
    step: Any = _step(torch.optim.SGD)


def tensors(params: Iterable[Any]) -> list[Tensor]:
    """The parameters of all groups, of a plain list, or of (name, parameter) pairs."""
    found = []
    for entry in params:
        for value in entry["params"] if isinstance(entry, dict) else [entry]:
            found.append(value[1] if isinstance(value, tuple) else value)
    return found


def can_fuse(params: Iterable[Any], *, shards: bool = True) -> bool:
    """Whether one fused kernel can update all of `params` (a list, not a generator).

    `shards` says whether that kernel takes the shards of FSDP2; SGD's does not.
    """
    return all(
        p.device.type in DEVICES and torch.is_floating_point(p) and (shards or not hasattr(p, "to_local"))
        for p in tensors(params)
    )


def clippable(optimizer: OptimizerT) -> OptimizerT:
    """Let gradients of a fused optimizer be clipped in mixed precision.

    Fused kernels claim to undo loss scaling by themselves, for which Lightning refuses to clip before them
    (and does so in bfloat16, too, where nothing is scaled). Without the claim, scaled gradients are unscaled
    first, as for any other optimizer.
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return optimizer
