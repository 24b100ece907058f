"""Traces one optimizer step of a configuration with fake tensors: shapes, but no numbers, and no memory for them."""

from __future__ import annotations

import gc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision, MixedPrecision, Precision
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from lit_mlfund.config.errors import ConfigError, first_line, problems_of
from lit_mlfund.data.serving.batch import Batch
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.sharding import shard
from lit_mlfund.modules.steps.joint_draws import draw_jointly
from lit_mlfund.runs.assembly.objects import build_module
from lit_mlfund.runs.planning.costs import Memory, Step, Traffic, Work
from lit_mlfund.runs.planning.tally import Tally, local_bytes, local_tensors

BUCKET = 25 * 2**20  # bytes that DistributedDataParallel reduces at a time
LOSS_LEFT_OUT = "the loss asks for values, which a plan has not: its own memory and time are left out"
CHUNK = (
    32  # sharded parameters that a fused optimizer updates at a time: torch plans for them in quadratic time
)


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


def trace_step(
    config: DictConfig,
    module: TaskModule,
    strategy: str,
    num_devices: int,
    batches: Callable[[], tuple[Batch, Batch]],
) -> Step:
    """Trace a step of training, and a batch of validation, as the first of `num_devices` processes.

    Args:
        config: the configuration of the run.
        module: its module on the meta device, which is given up.
        strategy: `single`, `ddp` or `fsdp`.
        num_devices: processes, of which each has a device.
        batches: makes a batch for training and one for validation.

    Raises:
        ConfigError: a step depends on values.
    """
    try:
        with warnings.catch_warnings(), fake_processes(num_devices):
            warnings.simplefilter("ignore")
            mesh = dist.init_device_mesh("cpu", (num_devices,), mesh_dim_names=("data_parallel",))
            precision = _precision(str(config.trainer.precision))
            precision.convert_module(module)
            if (
                strategy == "fsdp"
            ):  # before there are fake values, of which each of many parts would be one more
                shard(module.model, module.loss, mesh)
            with FakeTensorMode(allow_non_fake_inputs=True) as mode, Tally() as tally:
                return _trace(config, module, strategy, mesh, precision, batches, mode, tally)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError) as error:
        if problems_of(error) is not None:
            raise
        raise ConfigError(
            f"plan: a step of {config.model._target_} with {config.optim._target_} cannot be traced without values: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error


def _trace(
    config: DictConfig,
    module: TaskModule,
    strategy: str,
    mesh: DeviceMesh,
    precision: Precision,
    batches: Callable[[], tuple[Batch, Batch]],
    mode: FakeTensorMode,
    tally: Tally,
) -> Step:
    _give_fake_values(module)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = module.make_optimizer()
    if strategy == "fsdp":
        _split_groups(optimizer)
    buckets = _buckets(parameters) if strategy == "ddp" else []
    held = local_bytes([*module.parameters(), *module.buffers()])
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    gc.collect()
    before = tally.alive
    _update(optimizer, tally)
    state = tally.alive - before
    gradients = local_bytes([parameter.grad for parameter in parameters]) + local_bytes(buckets)
    training, validation = _fake(batches(), mode)
    accumulate = int(config.trainer.get("accumulate_grad_batches") or 1)
    module.train()
    if mesh.size() > 1:
        draw_jointly(module.model, 0, mesh.size())
    tally.during = "forward"
    tally.take()
    before = tally.alive - local_bytes(_leaves(training))
    tally.forget_peak()
    with precision.forward_context():
        loss = _loss(module, training, tally)
    activations = tally.alive - before
    tally.during = "backward"
    if accumulate == 1:
        optimizer.zero_grad()
    loss.backward()
    del loss
    work = tally.take()
    tally.during = "optimizer step"
    _clip(parameters, config.trainer)
    _update(optimizer, tally)
    update = tally.take()
    if buckets:
        size = local_bytes(buckets)
        update = Work(
            update.kernels, (*update.traffic, Traffic("all_reduce", mesh.size(), -(-size // BUCKET), size))
        )
    peak, phase = tally.peak, tally.at_peak
    tally.forget_peak()
    module.eval()
    with torch.no_grad(), precision.forward_context():
        module.outputs(validation)
    memory = Memory(held, gradients, state, activations, peak, phase, tally.peak)
    notes = (LOSS_LEFT_OUT,) if isinstance(module.loss, _OutputsAlone) else ()
    return Step(memory, work, update, accumulate, notes)


class _OutputsAlone(nn.Module):
    """Replaces a loss by the sum of the outputs."""

    def forward(self, *outputs: Any, **others: Any) -> Tensor:
        numbers = [
            part
            for part in _leaves((outputs, others))
            if isinstance(part, Tensor) and part.is_floating_point()
        ]
        return torch.stack([part.sum() for part in numbers]).sum()


def _loss(module: TaskModule, batch: Batch, tally: Tally) -> Tensor:
    """Return the loss of a batch, or the sum of its outputs where the loss asks for values."""
    try:
        return module.batch_loss(batch)
    except DataDependentOutputException:
        module.loss = _OutputsAlone()
    tally.take()
    tally.forget_peak()
    return module.batch_loss(batch)


def _precision(name: str) -> Precision:
    """Return Lightning's plugin for a precision, as it acts on a CPU."""
    if name in ("bf16-mixed", "16-mixed", "bf16", "16"):
        return MixedPrecision("bf16-mixed" if name.startswith("bf16") else "16-mixed", "cpu")  # type: ignore[arg-type]
    if name in ("bf16-true", "16-true"):
        return HalfPrecision(name)  # type: ignore[arg-type]
    return DoublePrecision() if name.startswith("64") else Precision()


def _give_fake_values(module: nn.Module) -> None:
    """Replace parameters and buffers on the meta device by fake ones of a CPU; shared ones stay shared."""
    fakes: dict[int, Any] = {}
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if id(parameter) not in fakes:
                fakes[id(parameter)] = nn.Parameter(_on_cpu(parameter), requires_grad=parameter.requires_grad)
            setattr(part, name, fakes[id(parameter)])
        for name, buffer in part.named_buffers(recurse=False):
            fakes.setdefault(id(buffer), _on_cpu(buffer))
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


def _fake(value: Any, mode: FakeTensorMode) -> Any:
    return torch.utils._pytree.tree_map_only(Tensor, mode.from_tensor, value)


def _leaves(value: Any) -> list[Any]:
    return torch.utils._pytree.tree_leaves(value)


def _split_groups(optimizer: torch.optim.Optimizer) -> None:
    """Split the groups of fused optimizers, whose kernels update each parameter alone, without memory of their own."""
    groups = []
    for group in optimizer.param_groups:
        size = CHUNK if group.get("fused") else max(len(group["params"]), 1)
        for first in range(0, len(group["params"]), size):
            groups.append({**group, "params": group["params"][first : first + size]})
    optimizer.param_groups[:] = groups


def _buckets(parameters: list[nn.Parameter]) -> list[Tensor]:
    """Allocate the copy of all gradients that DistributedDataParallel reduces."""
    sizes: Counter[torch.dtype] = Counter()
    for parameter in parameters:
        sizes[parameter.dtype] += parameter.numel()
    return [torch.empty(size, dtype=dtype) for dtype, size in sizes.items()]


def _update(optimizer: torch.optim.Optimizer, tally: Tally) -> None:
    """Take a step; the numbers that an optimizer asks for scale its update, and change no shape."""
    tally.scalar = 1.0
    optimizer.step()
    tally.scalar = None


def _clip(parameters: list[nn.Parameter], trainer: DictConfig) -> None:
    """Do what clipping does to the gradients of this device; the sum of norms over devices is a number."""
    gradients = list(local_tensors([parameter.grad for parameter in parameters]))
    if not gradients:
        return
    if trainer.get("gradient_clip_algorithm") == "value":
        for gradient in gradients:
            gradient.clamp_(-1.0, 1.0)
        return
    torch.nn.utils.get_total_norm(gradients)
    if trainer.get("gradient_clip_val"):
        for gradient in gradients:
            gradient.mul_(1.0)
