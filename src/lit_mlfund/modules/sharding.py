"""FSDP2: parameters, gradients and optimizer state in shards over the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard(model: nn.Module, loss: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a model in place, each block of its `blocks` by itself, so that one is gathered at a time."""
    from torch.distributed.fsdp import fully_shard

    for block in getattr(model, "blocks", ()):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    if any(parameter.requires_grad for parameter in loss.parameters()):
        fully_shard(loss, mesh=mesh)
