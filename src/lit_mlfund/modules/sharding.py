"""Shards models over processes: the whole model by FSDP2, or embedding tables only by TorchRec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from lit_mlfund.models.sharded_table import ShardedTable

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard(model: nn.Module, loss: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a model in place with FSDP2, each of its `blocks` separately, so that one is gathered at a time."""
    from torch.distributed.fsdp import fully_shard

    for block in getattr(model, "blocks", ()):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    if any(parameter.requires_grad for parameter in loss.parameters()):
        fully_shard(loss, mesh=mesh)


def spread_tables(model: nn.Module, device: torch.device) -> None:
    """Distribute the rows of every `ShardedTable` over processes, in place, unless that has been done."""
    for module in model.modules():
        if isinstance(module, ShardedTable):
            module.distribute(device)


def is_shared(module: nn.Module) -> bool:
    """Return whether processes hold parts of the weights, so that none of them can run the module alone."""
    tables = any(isinstance(part, ShardedTable) and part.weight is None for part in module.modules())
    return tables or any(hasattr(parameter, "to_local") for parameter in module.parameters())
