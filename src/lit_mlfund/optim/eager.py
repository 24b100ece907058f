"""torch's optimizers without its compiler.

Each of their methods keeps the compiler away from itself at every call, for which it imports it: 0.7 CPU seconds in
the first constructor, and calls in each step. These are the same methods, to the bit, without that.
"""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch
from torch.optim import Optimizer


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
