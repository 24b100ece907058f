"""Adapts torch's optimizers: bypasses the compiler, and uses fused kernels where they apply.

The methods of `torch.optim` disable the compiler at every call and import it to do so: 0.7 CPU seconds in the first
constructor, and overhead in each step. `Adam`, `AdamW` and `SGD` here avoid that; their results are bit-identical.
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
    """Return the undecorated `step` of `optimizer` under `no_grad`, the only effect of torch's decorators needed."""
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
    """Return the parameters of groups, of a plain list, or of (name, parameter) pairs."""
    parameters = []
    for entry in params:
        for value in entry["params"] if isinstance(entry, dict) else [entry]:
            parameters.append(value[1] if isinstance(value, tuple) else value)
    return parameters


def can_fuse(params: Iterable[Any], *, shards: bool = True) -> bool:
    """Return whether one fused kernel can update all of `params` (a list, not a generator).

    `shards` states whether that kernel supports FSDP2's shards; SGD's does not.
    """
    return all(
        p.device.type in DEVICES and torch.is_floating_point(p) and (shards or not hasattr(p, "to_local"))
        for p in tensors(params)
    )


def clippable(optimizer: OptimizerT) -> OptimizerT:
    """Allow gradients of a fused optimizer to be clipped in mixed precision.

    Fused kernels declare that they undo loss scaling themselves, and Lightning then refuses to clip gradients (also
    in bfloat16, where nothing is scaled). Without that declaration, scaled gradients are unscaled first, as for any
    other optimizer.
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return optimizer
