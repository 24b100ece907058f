"""Draws the masks of dropout for the joint batch of all processes: each row gets the one that it has in one process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_mlfund.models.inputs import CategoricalEmbedding


class JointDropout(nn.Dropout):
    """Applies dropout to the rows rank, rank + world, … of a batch that `world` processes share.

    All processes have the same random state: each draws the mask of the whole batch, and takes its rows.
    """

    rank = 0
    world = 1

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return super().forward(input)
        ones = torch.ones((len(input) * self.world, *input.shape[1:]), dtype=input.dtype, device=input.device)
        mask = F.dropout(ones, self.p, training=True)[self.rank :: self.world]
        return input * mask.clone()  # a view would keep the masks of all processes until the backward pass


def draw_jointly(model: nn.Module, rank: int, world: int) -> None:
    """Let `nn.Dropout` and the code dropout of `model` draw for the batch of all processes."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = JointDropout
        if isinstance(module, JointDropout):
            module.rank, module.world = rank, world
        elif isinstance(module, CategoricalEmbedding):
            module.rand = _joint_rand(rank, world)


def _joint_rand(rank: int, world: int) -> Callable[..., Tensor]:
    def rand(shape: torch.Size, device: torch.device) -> Tensor:
        return torch.rand((shape[0] * world, *shape[1:]), device=device)[rank::world]

    return rand
