"""Measures the memory of optimizer state."""

from __future__ import annotations

import torch
from torch import Tensor


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of an optimizer's state tensors, after at least one step; step counters are excluded."""
    tensors = [value for state in optimizer.state.values() for value in _tensors(state) if value.ndim]
    return sum(value.numel() * value.element_size() for value in tensors)


def _tensors(state: object) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, dict):
        return [tensor for value in state.values() for tensor in _tensors(value)]
    if isinstance(state, (list, tuple)):
        return [tensor for value in state for tensor in _tensors(value)]
    return []
