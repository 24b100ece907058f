"""Defines a linear model for all kinds of inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lit_mlfund.models.heads import num_outputs
from lit_mlfund.models.inputs import CategoricalEmbedding, TokenBag, check_spec

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec, Field


class Linear(nn.Module):
    """Fits one weight per number, per category and per token: linear or logistic regression.

    All weights start at zero, the uninformed prediction; a linear model has no symmetry to break.

    `x[name] [..., *field.shape]` -> `[..., K]` for multi-class data, `[...]` otherwise; `mask` is not needed.
    """

    tasks = ("binary", "multiclass", "regression", "ranking")
    inputs = ("numeric", "categorical", "tokens", "image")

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        check_spec(self, spec)
        outputs = num_outputs(spec)
        self.squeeze = spec.task != "multiclass"
        self.kinds = {name: field.kind for name, field in spec.inputs.items()}
        self.terms = nn.ModuleDict({name: _make_term(field, outputs) for name, field in spec.inputs.items()})
        self.bias = nn.Parameter(torch.zeros(outputs))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        output = self.bias
        for name, kind in self.kinds.items():
            value = x[name].flatten(-3) if kind == "image" else x[name]
            term = self.terms[name](value)
            output = output + (term.sum(-2) if kind == "categorical" else term)
        return output.squeeze(-1) if self.squeeze else output


def _make_term(field: Field, outputs: int) -> nn.Module:
    if field.kind == "categorical":
        return CategoricalEmbedding(field.cardinalities, outputs)
    if field.kind == "tokens":
        return TokenBag(field.cardinalities[0], outputs)
    return nn.Linear(math.prod(field.shape), outputs, bias=False)
