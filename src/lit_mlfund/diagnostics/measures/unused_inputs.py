"""Finds the inputs that a model ignores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import Field


def unused_inputs(
    predict: Callable[[dict[str, Tensor]], Tensor], x: dict[str, Tensor], fields: dict[str, Field]
) -> dict[str, list[str]]:
    """Find numeric and categorical columns that change no output, by trial: nothing is assumed about the model.

    A number counts as unused where its gradient is exactly zero in every row of `x`, a category where no other
    code changes any output.

    Args:
        predict: maps a dict of tensors to outputs of any shape, deterministically.
        x: real rows `[B, …, *field.shape]`.
        fields: `DataSpec.inputs`.

    Returns:
        Field -> names of its unused columns, for the numeric and categorical fields.
    """
    generator = torch.Generator().manual_seed(0)
    unused_names: dict[str, list[str]] = {}
    for field_name, field in fields.items():
        if field.kind == "numeric":
            values = x[field_name].detach().clone().requires_grad_()
            with torch.enable_grad():
                output = predict({**x, field_name: values})
                # random weights, so that gradients of several outputs do not cancel
                weight = torch.rand(output.shape, generator=generator).to(output) + 0.5
                total = (output * weight).sum() + 0 * values.sum()
                (gradient,) = torch.autograd.grad(total, values)
            used = gradient.flatten(0, -2).abs().amax(0)
            unused = (used == 0).tolist()
        elif field.kind == "categorical":
            unused = [_is_unused(predict, x, field_name, c, n) for c, n in enumerate(field.cardinalities)]
        else:
            continue
        names = field.names or [f"{field_name}[{column}]" for column in range(field.shape[0])]
        unused_names[field_name] = [name for name, is_unused in zip(names, unused) if is_unused]
    return unused_names


@torch.no_grad()
def _is_unused(
    predict: Callable[[dict[str, Tensor]], Tensor],
    x: dict[str, Tensor],
    name: str,
    column: int,
    cardinality: int,
) -> bool:
    expected = predict(x)
    # each row takes other codes in turn: all of them where there are few
    for step in range(1, min(cardinality, 64)):
        codes = x[name].clone()
        codes[..., column] = (codes[..., column] + step) % cardinality
        if not torch.equal(predict({**x, name: codes}), expected):
            return False
    return True
