"""Clipping of all gradients together: whole tensors, and the few rows of sparse ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


def clip_norm(parameters: Sequence[nn.Parameter], limit: float) -> Tensor | None:
    """Scale the gradients in place so that their norm is at most `limit`, as `clip_grad_norm_` does to the bit.

    Args:
        parameters: in the order in which the norm is summed, on which its last bit depends.
        limit: largest norm; infinity only measures.

    Returns:
        The norm before clipping, `[]`; None if there are no gradients.
    """
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    if not parameters:
        return None
    gradients: list[Any] = [parameter.grad for parameter in parameters]
    dense = [parameter for parameter, gradient in zip(parameters, gradients) if not gradient.is_sparse]
    if len(dense) < len(parameters):
        gradients = [_values(parameter) for parameter in parameters]
    norm = nn.utils.get_total_norm(gradients)
    # In a norm within the limit the factor is exactly 1 (1e-6 is torch's). Knowing it is free on a CPU alone.
    if norm.device.type != "cpu" or not norm + 1e-6 <= limit:
        nn.utils.clip_grads_with_norm_(dense, limit, norm)
        if len(dense) < len(parameters):
            factor = (limit / (norm + 1e-6)).clamp(max=1.0)
            for parameter in parameters:
                if parameter.grad.is_sparse:  # type: ignore[union-attr]
                    _values(parameter).mul_(factor)
    return norm


def clip_value(parameters: Sequence[nn.Parameter], limit: float) -> None:
    """Cut every entry of the gradients to ±`limit`, in place."""
    for parameter in parameters:
        if parameter.grad is not None:
            _values(parameter).clamp_(-limit, limit)


def _values(parameter: nn.Parameter) -> Tensor:
    """What a gradient is made of; rows that a sparse one has several times are summed first, in its place."""
    assert parameter.grad is not None
    if not parameter.grad.is_sparse:
        return parameter.grad
    parameter.grad = parameter.grad.coalesce()
    return parameter.grad.values()
