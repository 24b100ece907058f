"""Clips all gradients together: dense tensors, and the few rows of sparse ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


def clip_norm(parameters: Sequence[nn.Parameter], limit: float) -> Tensor | None:
    """Scale the gradients in place so that their norm is at most `limit`, bit-identical to `clip_grad_norm_`.

    Args:
        parameters: in the order in which the norm is summed, on which its last bit depends.
        limit: largest norm; with infinity the norm is only measured.

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
    # For a norm within the limit the factor is exactly 1 (1e-6 is torch's). Only on a CPU is it free to compare.
    if norm.device.type != "cpu" or not norm + 1e-6 <= limit:
        nn.utils.clip_grads_with_norm_(dense, limit, norm)
        if len(dense) < len(parameters):
            factor = (limit / (norm + 1e-6)).clamp(max=1.0)
            for parameter in parameters:
                if parameter.grad.is_sparse:  # type: ignore[union-attr]
                    _values(parameter).mul_(factor)
    return norm


def clip_value(parameters: Sequence[nn.Parameter], limit: float) -> None:
    """Clamp every entry of the gradients to ±`limit`, in place."""
    for parameter in parameters:
        if parameter.grad is not None:
            _values(parameter).clamp_(-limit, limit)


def _values(parameter: nn.Parameter) -> Tensor:
    """Return the values of a gradient; repeated rows of a sparse one are summed first, in place."""
    assert parameter.grad is not None
    if not parameter.grad.is_sparse:
        return parameter.grad
    parameter.grad = parameter.grad.coalesce()
    return parameter.grad.values()
