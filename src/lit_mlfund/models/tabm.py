"""Defines an ensemble of networks in one: members share their weight matrices and differ in elementwise scalings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_mlfund.models.heads import num_outputs
from lit_mlfund.models.inputs import InputEncoder, check_fraction, check_spec
from lit_mlfund.models.mlp import ACTIVATIONS, Activation, check_layers
from lit_mlfund.models.numeric import NumericEmbedding

if TYPE_CHECKING:
    from lit_mlfund.data.serving.spec import DataSpec


class TabM(nn.Module):
    """Applies k members of one MLP at once to embedded inputs: for tables, where it is hard to beat.

    With the encoded input h_j = e of member j = 1 … k, each hidden layer computes

        h_j <- dropout(activation(s_j ⊙ (W (r_j ⊙ h_j)) + b_j)),

    where W is shared, and r_j, s_j, b_j are the member's own (BatchEnsemble: Wen, Tran, Ba 2020, arXiv 2002.06715);
    a head of its own follows, z_j = V_j h_j + c_j. In the first layer r_j starts as one N(0, 1) number for each input
    column, which makes the members differ; all other scalings start at 1. With `mini`, the members have that first
    r_j and their heads only. Source: Gorishniy, Kotelnikov, Babenko 2025, "TabM", arXiv 2410.24210, §3.

    Training minimises the mean of the members' losses (`members=True`), not the loss of their mean: members that are
    trained as one do not become different. The prediction is the mean of their probabilities, as a logit:
    log p̄ - log(1 - p̄) of p̄ = mean_j sigmoid(z_j) for a binary task, log mean_j softmax(z_j) for several classes; and
    the mean of their outputs in regression, of their scores in ranking.

    Numbers, categories and tokens are encoded as by `MLP`. `x[name] [..., *field.shape]` -> `[..., K]` for multi-class
    data, `[...]` otherwise; with `members=True` the same with a first dimension of `num_members`. Ignores `mask`: each
    document of a list is scored independently.
    """

    tasks = ("binary", "multiclass", "regression", "ranking")
    inputs = ("numeric", "categorical", "tokens", "image")

    def __init__(
        self,
        spec: DataSpec,
        *,
        num_members: int = 8,
        mini: bool = True,
        hidden: tuple[int, ...] = (128, 128),
        dropout: float = 0.1,
        activation: Activation = "relu",
        embedding_dim: int | None = None,
        token_dim: int = 64,
        code_dropout: float = 0.0,
        numeric_embedding: NumericEmbedding = "periodic_linear",
        frequency_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_spec(self, spec)
        check_layers(hidden, activation)
        check_fraction("dropout", dropout)
        if num_members < 1:
            raise ValueError(f"num_members must be at least 1, got {num_members}")
        if not hidden:
            raise ValueError("hidden must have at least one layer, which the members share")
        self.num_members = num_members
        self.task = spec.task
        self.encoder = InputEncoder(
            spec.inputs,
            embedding_dim=embedding_dim,
            token_dim=token_dim,
            code_dropout=code_dropout,
            numeric_embedding=numeric_embedding,
            frequency_scale=frequency_scale,
        )
        self.first = EnsembleLinear(num_members, self.encoder.dim, hidden[0], only_inputs=mini)
        draw_scales(self.first.input_scale, self.encoder.widths)
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs) if mini else EnsembleLinear(num_members, inputs, outputs)
            for inputs, outputs in pairwise(hidden)
        )
        self.activation = ACTIVATIONS[activation]()
        self.dropout = ByteDropout(dropout)
        self.heads = MemberHeads(num_members, hidden[-1], spec)

    def forward(self, x: Mapping[str, Tensor], mask: Tensor | None = None, members: bool = False) -> Tensor:
        encoded = self.encoder(x)
        hidden = self.dropout(self.activation(self.first(encoded.flatten(0, -2))))  # [N, k, hidden]
        for layer in self.layers:
            hidden = self.dropout(self.activation(layer(hidden)))
        output = self.heads(hidden).transpose(0, 1).unflatten(1, encoded.shape[:-1])
        return output if members else combine(output, self.task)


def combine(output: Tensor, task: str) -> Tensor:
    """Average the outputs `[k, …]` of members: as probabilities where they are logits, which are then returned again.

    Binary logits are log p̄ - log(1 - p̄) of the mean probability p̄, logits of several classes its logarithm.
    """
    if task == "binary":
        return torch.logsumexp(F.logsigmoid(output), 0) - torch.logsumexp(F.logsigmoid(-output), 0)
    if task == "multiclass":
        return torch.logsumexp(F.log_softmax(output, dim=-1), 0) - math.log(len(output))
    return output.mean(0)


@torch.no_grad()
def draw_scales(scale: Tensor, widths: Sequence[int]) -> None:
    """Fill `[k, sum(widths)]` with N(0, 1) numbers, one for each member and group of inputs."""
    by_group = torch.randn(len(scale), len(widths))
    scale.copy_(by_group.repeat_interleave(torch.tensor(widths), dim=1, output_size=sum(widths)))


class EnsembleLinear(nn.Module):
    """Applies s_j ⊙ (W (r_j ⊙ x_j)) + b_j: `[N, k, in]`, or `[N, in]` for the same x of all members, to `[N, k, out]`.

    The scalings are multiplied into W, which has fewer elements than the rows of a batch: one product of matrices
    follows for all members.

    Args:
        num_members: k.
        in_features, out_features: as of `torch.nn.Linear`, whose initial W and b are taken.
        only_inputs: leave out s, and share b.
    """

    no_decay = ("input_scale", "output_scale", "bias")

    def __init__(
        self, num_members: int, in_features: int, out_features: int, *, only_inputs: bool = False
    ) -> None:
        super().__init__()
        linear = nn.Linear(in_features, out_features)
        self.weight = linear.weight
        self.bias = nn.Parameter(linear.bias.detach().repeat(1 if only_inputs else num_members, 1))
        self.input_scale = nn.Parameter(torch.ones(num_members, in_features))
        self.output_scale = None if only_inputs else nn.Parameter(torch.ones(num_members, out_features))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.input_scale[:, None]  # [k, out, in]
        if self.output_scale is not None:
            weight = weight * self.output_scale[:, :, None]
        if x.ndim == 2:
            return F.linear(x, weight.flatten(0, 1)).unflatten(1, weight.shape[:2]) + self.bias
        return torch.bmm(x.transpose(0, 1), weight.mT).transpose(0, 1) + self.bias


class MemberHeads(nn.Module):
    """Maps `[N, k, D]` to each member's own logits `[N, k, K]`, or one number `[N, k]`; starts as `Head` does."""

    no_decay = ("bias",)

    def __init__(self, num_members: int, in_features: int, spec: DataSpec) -> None:
        super().__init__()
        self.squeeze = spec.task != "multiclass"
        self.weight = nn.Parameter(
            torch.randn(num_members, in_features, num_outputs(spec)) * 0.3 * in_features**-0.5
        )
        self.bias = nn.Parameter(torch.zeros(num_members, num_outputs(spec)))

    def forward(self, x: Tensor) -> Tensor:
        output = torch.einsum("nkd,kdo->nko", x, self.weight) + self.bias
        return output.squeeze(-1) if self.squeeze else output


class ByteDropout(nn.Module):
    """Applies dropout with masks drawn as random bytes, which takes a third of the time of `torch.nn.Dropout`.

    The probability is rounded to a multiple of 1/256, to which the scale of what is kept belongs.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.limit = min(255, round(p * 256))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.limit == 0:
            return x
        draws = torch.randint(-(2**63), 2**63 - 1, (x.numel() // 8 + 1,), device=x.device)
        kept = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= self.limit
        return x * kept.to(x.dtype).mul_(256 / (256 - self.limit))
