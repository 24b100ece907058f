"""Clipping of all gradients together: whole tensors, and the few rows of sparse ones."""

from __future__ import annotations

from collections.abc import Sequence

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
    dense = [parameter for parameter in parameters if not parameter.grad.is_sparse]
    values = [] if len(dense) == len(parameters) else [_values(parameter) for parameter in parameters]
    norm = nn.utils.get_total_norm(values or [parameter.grad for parameter in parameters])
    # In a norm within the limit the factor is exactly 1 (1e-6 is torch's). Knowing it is free on a CPU alone.
    if norm.device.type != "cpu" or not norm + 1e-6 <= limit:
        nn.utils.clip_grads_with_norm_(dense, limit, norm)
        for parameter, part in zip(parameters, values):
            if parameter.grad.is_sparse:
                part.mul_((limit / (norm + 1e-6)).clamp(max=1.0))
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
