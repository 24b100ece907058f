"""Stacks independent models of one architecture into one: parameters `[M, …]`, inputs `[M, B, …]`.

Each member computes what its own model would, bit-identical where the libraries allow: matrix products are batched
over members only if one call gives the same bits as a call per member, which is tested for each shape
(`_batching_is_exact`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_mlfund.models.heads import Head
from lit_mlfund.models.inputs import CategoricalEmbedding, InputEncoder
from lit_mlfund.models.linear import Linear
from lit_mlfund.models.mlp import ACTIVATIONS, MLP

ALIGNMENT = 64  # bytes, of torch's CPU allocations
_SHAPE_AGNOSTIC = (nn.Sequential, nn.ModuleDict, MLP, Linear, InputEncoder, CategoricalEmbedding, nn.Identity)


def stack(models: Sequence[nn.Module], generators: Sequence[torch.Generator]) -> nn.Module:
    """Combine M models into one, whose parameters have a member's names and a leading dimension M.

    Args:
        models: identical except for the values of their parameters; not modified.
        generators: one per member, for its dropout, which draws what `torch.dropout` would from the same state.

    Raises ValueError for a module that has no stacked form.
    """
    stacked = copy.deepcopy(models[0])
    if isinstance(stacked, Linear):
        stacked.bias = nn.Parameter(_stacked_parameter(models, "bias").detach()[:, None])
    for name, _ in models[0].named_modules():
        replacement = _stacked_module([model.get_submodule(name) for model in models], generators)
        if replacement is not None:
            parent, _, last = name.rpartition(".")
            setattr(stacked.get_submodule(parent), last, replacement)
    return stacked


def _stacked_module(members: list[Any], generators: Sequence[torch.Generator]) -> nn.Module | None:
    """Return the stacked form of a module, or None if it works unchanged for any leading dimensions."""
    first = members[0]
    if isinstance(first, nn.Dropout):
        return StackedDropout(first.p, generators)
    if type(first) in (nn.Linear, Head):
        return StackedLinear(members)
    if type(first) is nn.Embedding:
        return StackedEmbedding(members)
    if type(first) is nn.LayerNorm:
        return StackedLayerNorm(members)
    if isinstance(first, CategoricalEmbedding) and first.code_dropout > 0:
        raise ValueError("stacked models do not support code_dropout")
    if type(first) in _SHAPE_AGNOSTIC or type(first) in ACTIVATIONS.values():
        return None
    raise ValueError(f"{type(first).__name__} has no stacked form")


def _stacked_parameter(members: Sequence[nn.Module], name: str) -> nn.Parameter:
    return nn.Parameter(torch.stack([getattr(member, name).detach() for member in members]))


class StackedLinear(nn.Module):
    """Maps `[M, B, in]` to `[M, B, out]`, or to `[M, B]` for a head with one output."""

    def __init__(self, members: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = _stacked_parameter(members, "weight")
        self.bias = _stacked_parameter(members, "bias") if members[0].bias is not None else None
        self.squeeze = getattr(members[0], "squeeze", False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = _BatchedLinear.apply(x, self.weight, self.bias)
        return output.squeeze(-1) if self.squeeze else output


class StackedEmbedding(nn.Module):
    """Looks up codes `[M, …]` in each member's own table."""

    def __init__(self, members: Sequence[nn.Embedding]) -> None:
        super().__init__()
        self.weight = _stacked_parameter(members, "weight")

    def forward(self, codes: Tensor) -> Tensor:
        num_members, num_rows, dim = self.weight.shape
        offset = torch.arange(num_members).view(-1, *(1,) * (codes.ndim - 1)) * num_rows
        return F.embedding(codes + offset, self.weight.view(-1, dim))


class StackedLayerNorm(nn.Module):
    """Normalises member by member: the kernel fuses gain and bias into one rounding, which batching would not."""

    def __init__(self, members: Sequence[nn.LayerNorm]) -> None:
        super().__init__()
        self.weight, self.bias = _stacked_parameter(members, "weight"), _stacked_parameter(members, "bias")
        self.shape, self.eps = members[0].normalized_shape, members[0].eps

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(x.unbind(), self.weight.unbind(), self.bias.unbind())
        return torch.stack(
            [F.layer_norm(part, self.shape, gain, bias, self.eps) for part, gain, bias in parts]
        )


class StackedDropout(nn.Module):
    """Applies dropout with a separate generator for each member."""

    def __init__(self, p: float, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.p = p
        self.generators = generators

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        mask = torch.empty_like(x)
        for member_mask, generator in zip(mask, self.generators):
            member_mask.bernoulli_(1 - self.p, generator=generator)
        return x * mask.div_(1 - self.p)


class _BatchedLinear(torch.autograd.Function):
    """Computes addmm and its derivatives for every member."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.batched = _batching_is_exact(*x.shape, weight.shape[1], bias is not None)
        return _linear(x, weight, bias, ctx.batched[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        grad_x = _matmul(gradient, weight, ctx.batched[1]) if ctx.needs_input_grad[0] else None
        grad_weight = _matmul(gradient.mT, x, ctx.batched[2])
        return grad_x, grad_weight, gradient.sum(1) if ctx.needs_input_grad[2] else None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, batched: bool) -> Tensor:
    if bias is None:
        return _matmul(x, weight.mT, batched)
    if batched:
        return torch.baddbmm(bias[:, None], x, weight.mT)
    members = zip(*(_aligned_members(part) for part in (bias, x, weight.mT)))
    return torch.stack([torch.addmm(*member) for member in members])


def _matmul(left: Tensor, right: Tensor, batched: bool) -> Tensor:
    if batched:
        return torch.bmm(left, right)
    return torch.stack([torch.mm(*member) for member in zip(_aligned_members(left), _aligned_members(right))])


def _aligned_members(stacked: Tensor) -> Iterator[Tensor]:
    """Yield each member's tensor with the memory alignment that its own model would have.

    Some kernels (MKL on AMD) round differently for tensors that do not start at a multiple of ALIGNMENT.
    """
    for part in stacked.unbind():
        aligned = part.data_ptr() % ALIGNMENT == 0
        yield part if aligned else torch.empty_strided(part.shape, part.stride()).copy_(part)


@cache
def _batching_is_exact(
    members: int, rows: int, inputs: int, outputs: int, biased: bool
) -> tuple[bool, bool, bool]:
    """Test for each of a linear layer's three products whether one call for all members gives the same bits."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(members, rows, inputs, generator=generator)
    weight = torch.randn(members, outputs, inputs, generator=generator)
    bias = torch.randn(members, outputs, generator=generator) if biased else None
    gradient = torch.randn(members, rows, outputs, generator=generator)
    return (
        torch.equal(_linear(x, weight, bias, True), _linear(x, weight, bias, False)),
        torch.equal(_matmul(gradient, weight, True), _matmul(gradient, weight, False)),
        torch.equal(_matmul(gradient.mT, x, True), _matmul(gradient.mT, x, False)),
    )
