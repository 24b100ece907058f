"""Several models of one architecture as one: parameters `[M, …]`, inputs `[M, B, …]`, every member by itself.

A member's numbers are those that its own model would give, to the bit where the libraries allow: matrix products are
taken for all members in one call only if that call gives the same bits as one call for each, which is tried out
for the shapes at hand (`_batched`).
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

ALIGNMENT = 64  # bytes: of what torch allocates on a CPU
_AS_THEY_ARE = (nn.Sequential, nn.ModuleDict, MLP, Linear, InputEncoder, CategoricalEmbedding, nn.Identity)


def stack(models: Sequence[nn.Module], generators: Sequence[torch.Generator]) -> nn.Module:
    """One model of M members, whose parameters have the names of a member's and a leading dimension M.

    Args:
        models: alike but for the values of their parameters; they are not changed.
        generators: of each member's dropout, which draws what `torch.dropout` would with this state.

    Raises ValueError for a module that has no stacked form.
    """
    stacked = copy.deepcopy(models[0])
    if isinstance(stacked, Linear):
        stacked.bias = nn.Parameter(_stacked(models, "bias").detach()[:, None])
    for name, _ in models[0].named_modules():
        twin = _twin([model.get_submodule(name) for model in models], generators)
        if twin is not None:
            parent, _, last = name.rpartition(".")
            setattr(stacked.get_submodule(parent), last, twin)
    return stacked


def _twin(members: list[Any], generators: Sequence[torch.Generator]) -> nn.Module | None:
    """The stacked form of a module; None where it is itself for any leading dimensions."""
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
        raise ValueError("code_dropout cannot be drawn for stacked models")
    if type(first) in _AS_THEY_ARE or type(first) in ACTIVATIONS.values():
        return None
    raise ValueError(f"{type(first).__name__} has no stacked form")


def _stacked(members: Sequence[nn.Module], name: str) -> nn.Parameter:
    return nn.Parameter(torch.stack([getattr(member, name).detach() for member in members]))


class StackedLinear(nn.Module):
    """`[M, B, in]` to `[M, B, out]`, or to `[M, B]` for a head of one output."""

    def __init__(self, members: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = _stacked(members, "weight")
        self.bias = _stacked(members, "bias") if members[0].bias is not None else None
        self.squeeze = getattr(members[0], "squeeze", False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = _StackedLinear.apply(x, self.weight, self.bias)
        return output.squeeze(-1) if self.squeeze else output


class StackedEmbedding(nn.Module):
    """Codes `[M, …]` to rows of each member's own table."""

    def __init__(self, members: Sequence[nn.Embedding]) -> None:
        super().__init__()
        self.weight = _stacked(members, "weight")

    def forward(self, codes: Tensor) -> Tensor:
        num_members, num_rows, dim = self.weight.shape
        first = torch.arange(num_members).view(-1, *(1,) * (codes.ndim - 1)) * num_rows
        return F.embedding(codes + first, self.weight.view(-1, dim))


class StackedLayerNorm(nn.Module):
    """Member by member: the kernel scales by gain and bias while it normalises, and rounds once."""

    def __init__(self, members: Sequence[nn.LayerNorm]) -> None:
        super().__init__()
        self.weight, self.bias = _stacked(members, "weight"), _stacked(members, "bias")
        self.shape, self.eps = members[0].normalized_shape, members[0].eps

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(x.unbind(), self.weight.unbind(), self.bias.unbind())
        return torch.stack(
            [F.layer_norm(part, self.shape, gain, bias, self.eps) for part, gain, bias in parts]
        )


class StackedDropout(nn.Module):
    """Dropout with a generator for each member."""

    def __init__(self, p: float, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.p = p
        self.generators = generators

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.empty_like(x)
        for row, generator in zip(kept, self.generators):
            row.bernoulli_(1 - self.p, generator=generator)
        return x * kept.div_(1 - self.p)


class _StackedLinear(torch.autograd.Function):
    """addmm and its derivatives, for every member."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.batched = _batched(*x.shape, weight.shape[1], bias is not None)
        return _outputs(x, weight, bias, ctx.batched[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        of_x = _product(gradient, weight, ctx.batched[1]) if ctx.needs_input_grad[0] else None
        of_weight = _product(gradient.mT, x, ctx.batched[2])
        return of_x, of_weight, gradient.sum(1) if ctx.needs_input_grad[2] else None


def _outputs(x: Tensor, weight: Tensor, bias: Tensor | None, batched: bool) -> Tensor:
    if bias is None:
        return _product(x, weight.mT, batched)
    if batched:
        return torch.baddbmm(bias[:, None], x, weight.mT)
    members = zip(*(_apart(part) for part in (bias, x, weight.mT)))
    return torch.stack([torch.addmm(*member) for member in members])


def _product(left: Tensor, right: Tensor, batched: bool) -> Tensor:
    if batched:
        return torch.bmm(left, right)
    return torch.stack([torch.mm(*member) for member in zip(_apart(left), _apart(right))])


def _apart(stacked: Tensor) -> Iterator[Tensor]:
    """Each member's part where its own model would have it.

    Some kernels (MKL on AMD) round otherwise for what does not begin at a multiple of ALIGNMENT.
    """
    for part in stacked.unbind():
        aligned = part.data_ptr() % ALIGNMENT == 0
        yield part if aligned else torch.empty_strided(part.shape, part.stride()).copy_(part)


@cache
def _batched(members: int, rows: int, inputs: int, outputs: int, biased: bool) -> tuple[bool, bool, bool]:
    """For which of the three products of a linear layer one call for all members gives the same bits."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(members, rows, inputs, generator=draw)
    weight = torch.randn(members, outputs, inputs, generator=draw)
    bias = torch.randn(members, outputs, generator=draw) if biased else None
    gradient = torch.randn(members, rows, outputs, generator=draw)
    return (
        torch.equal(_outputs(x, weight, bias, True), _outputs(x, weight, bias, False)),
        torch.equal(_product(gradient, weight, True), _product(gradient, weight, False)),
        torch.equal(_product(gradient.mT, x, True), _product(gradient.mT, x, False)),
    )
