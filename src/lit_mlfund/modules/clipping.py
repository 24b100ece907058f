"""Clipping by the norm of all gradients together."""

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
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters])
    # In a norm within the limit the factor is exactly 1 (1e-6 is torch's). Knowing it is free on a CPU alone.
    if norm.device.type != "cpu" or not norm + 1e-6 <= limit:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm
