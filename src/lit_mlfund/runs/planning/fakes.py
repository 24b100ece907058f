"""Builds the parts of a run with shapes alone: processes that do not exist, modules and batches without values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils import _pytree as pytree

from lit_mlfund.config.errors import ConfigError, first_line, problems_of
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.modules import TaskModule
from lit_mlfund.runs.assembly.objects import build_module


@contextmanager
def fake_processes(num_processes: int) -> Iterator[None]:
    """Let this process be the first of a group whose others do not exist; its collectives transfer nothing."""
    dist.init_process_group("fake", rank=0, world_size=num_processes, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def build_on_meta(config: DictConfig, spec: DataSpec) -> TaskModule:
    """Build the module of a run with the shapes of its parameters, and no values.

    Raises:
        ConfigError: its constructor reads values.
    """
    try:
        with torch.device("meta"):
            return build_module(config, spec)
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        if problems_of(error) is not None:
            raise
        raise ConfigError(
            f"model: {config.model._target_} cannot be built on the meta device, which has shapes and no values: "
            f"{first_line(error)}"
        ) from error


def give_fake_values(module: nn.Module) -> None:
    """Replace parameters and buffers on the meta device by fake ones of a CPU; shared ones stay shared."""
    fakes: dict[int, Any] = {}
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if id(parameter) not in fakes:
                fakes[id(parameter)] = nn.Parameter(_on_cpu(parameter), requires_grad=parameter.requires_grad)
            setattr(part, name, fakes[id(parameter)])
        for name, buffer in part.named_buffers(recurse=False):
            if id(buffer) not in fakes:
                fakes[id(buffer)] = _on_cpu(buffer)
            setattr(part, name, fakes[id(buffer)])
    for part in module.children():
        if isinstance(part, FSDPModule):
            part.to("cpu")  # when it takes over its new parameters


def _on_cpu(tensor: Any) -> Tensor:
    if not isinstance(tensor, DTensor):
        return torch.empty_like(tensor, device="cpu")
    local = torch.empty_like(tensor.to_local(), device="cpu")
    return DTensor.from_local(
        local,
        tensor.device_mesh,
        tensor.placements,
        run_check=False,
        shape=tensor.shape,
        stride=tensor.stride(),
    )


def fake_batch(batch: Any, mode: FakeTensorMode) -> Any:
    """Return a batch without its values."""
    return pytree.tree_map_only(Tensor, mode.from_tensor, batch)


class OutputsAlone(nn.Module):
    """Replaces a loss by the sum of the outputs."""

    def forward(self, *outputs: Any, **others: Any) -> Tensor:
        parts = [part for part in pytree.tree_leaves((outputs, others)) if isinstance(part, Tensor)]
        return torch.stack([part.sum() for part in parts if part.is_floating_point()]).sum()
