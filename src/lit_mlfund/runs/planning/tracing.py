"""Traces one optimizer step of a configuration with fake tensors: shapes, but no numbers, and no memory for them."""

from __future__ import annotations

import gc
import warnings
from collections import Counter
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils import _pytree as pytree

from lit_mlfund.config.errors import ConfigError, first_line, problems_of
from lit_mlfund.data.serving.batch import Batch
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.sharding import shard
from lit_mlfund.modules.steps.joint_draws import draw_jointly
from lit_mlfund.runs.assembly.precision import precision_plugin
from lit_mlfund.runs.planning.costs import Memory, Step, Traffic, Work
from lit_mlfund.runs.planning.fakes import OutputsAlone, fake_batch, fake_processes, give_fake_values
from lit_mlfund.runs.planning.tally import Tally, local_bytes, local_tensors
from lit_mlfund.runs.planning.workload import Workload

BUCKET = 25 * 2**20  # bytes that DistributedDataParallel reduces at a time
CHUNK = (
    32  # sharded parameters that a fused optimizer updates at a time: torch plans for them in quadratic time
)
LOSS_LEFT_OUT = "the loss asks for values, which a plan has not: its own memory and time are left out"


def trace_step(
    config: DictConfig, module: TaskModule, strategy: str, num_devices: int, work: Workload
) -> Step:
    """Trace a step of training, and a batch of validation, as the first of `num_devices` processes.

    Args:
        config: the configuration of the run.
        module: its module on the meta device, which is given up.
        strategy: `single`, `ddp` or `fsdp`.
        num_devices: processes, of which each has a device.
        work: the batches.

    Raises:
        ConfigError: a step depends on values.
    """
    precision = _precision(str(config.trainer.precision))
    try:
        with warnings.catch_warnings(), fake_processes(num_devices):
            warnings.simplefilter("ignore")
            precision.convert_module(module)
            if strategy == "fsdp":  # before there are fake values: each of many parts would be one more
                mesh = dist.init_device_mesh("cpu", (num_devices,), mesh_dim_names=("data_parallel",))
                shard(module.model, module.loss, mesh)
            with FakeTensorMode(allow_non_fake_inputs=True) as mode, Tally() as tally:
                give_fake_values(module)
                return _Trace(config, module, strategy, num_devices, precision, mode, tally).step(work)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError) as error:
        if problems_of(error) is not None:
            raise
        raise ConfigError(
            f"plan: a step of {config.model._target_} with {config.optim._target_} cannot be traced without values: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error


class _Trace:
    """Takes the parts of a step in the order in which a run takes them."""

    def __init__(
        self,
        config: DictConfig,
        module: TaskModule,
        strategy: str,
        num_devices: int,
        precision: Precision,
        mode: FakeTensorMode,
        tally: Tally,
    ) -> None:
        self.config, self.module, self.num_devices = config, module, num_devices
        self.precision, self.mode, self.tally = precision, mode, tally
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.optimizer = module.make_optimizer()
        if strategy == "fsdp":
            _split_groups(self.optimizer)
        self.buckets = _buckets(self.parameters) if strategy == "ddp" else []
        module.train()
        if num_devices > 1:
            draw_jointly(module.model, 0, num_devices)

    def step(self, work: Workload) -> Step:
        """Return the costs of a step that is not the first one, and the peak of a batch of validation."""
        module, tally = self.module, self.tally
        held = local_bytes([*module.parameters(), *module.buffers()])
        for parameter in self.parameters:  # those of the step before, which live until the backward pass
            parameter.grad = torch.zeros_like(parameter)
        gradients = local_bytes([*(parameter.grad for parameter in self.parameters), *self.buckets])
        gc.collect()
        before = tally.alive
        self._update()
        state = tally.alive - before
        activations, batch = self._pass(work)
        tally.during = "optimizer step"
        self._clip()
        self._update()
        update = self._reduced(tally.take())
        peak, phase = tally.peak, tally.at_peak
        self._validate(work)
        memory = Memory(held, gradients, state, activations, peak, phase, tally.peak)
        notes = (LOSS_LEFT_OUT,) if isinstance(module.loss, OutputsAlone) else ()
        return Step(memory, batch, update, self._accumulate, notes)

    @property
    def _accumulate(self) -> int:
        return int(self.config.trainer.get("accumulate_grad_batches") or 1)

    def _pass(self, work: Workload) -> tuple[int, Work]:
        """Take a forward and a backward pass; return the bytes between them beside the static ones, and the work."""
        tally, before = self.tally, self.tally.alive
        batch = self.precision.convert_input(fake_batch(work.training(), self.mode))
        tally.add(pytree.tree_leaves(batch))
        tally.during = "forward"
        tally.forget_peak()
        tally.take()
        with self.precision.forward_context():
            loss = self._loss(batch)
        activations = tally.alive - before
        tally.during = "backward"
        if self._accumulate == 1:
            self.optimizer.zero_grad()
        loss.backward()
        return activations, tally.take()

    def _loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, or the sum of its outputs where the loss asks for values."""
        try:
            return self.module.batch_loss(batch)
        except DataDependentOutputException:
            self.module.loss = OutputsAlone()
        self.tally.take()
        self.tally.forget_peak()
        return self.module.batch_loss(batch)

    def _clip(self) -> None:
        """Clip the gradients of this device; what devices sum for it is one number."""
        trainer = self.config.trainer
        gradients = list(local_tensors([parameter.grad for parameter in self.parameters]))
        by_value = trainer.get("gradient_clip_algorithm") == "value"
        if gradients and not by_value:
            torch.nn.utils.get_total_norm(gradients)
        for gradient in gradients if trainer.get("gradient_clip_val") else ():
            gradient.clamp_(-1.0, 1.0) if by_value else gradient.mul_(1.0)

    def _update(self) -> None:
        """Let the optimizer step; the numbers that it asks for scale its update, and change no shape."""
        self.tally.scalar = 1.0
        self.optimizer.step()
        self.tally.scalar = None

    def _reduced(self, update: Work) -> Work:
        """Add the traffic of DistributedDataParallel, which reduces once in a step."""
        size = local_bytes(self.buckets)
        if not size:
            return update
        reduced = Traffic("all_reduce", self.num_devices, -(-size // BUCKET), size)
        return Work(update.kernels, (*update.traffic, reduced))

    def _validate(self, work: Workload) -> None:
        batch = self.precision.convert_input(fake_batch(work.validation(), self.mode))
        self.tally.add(pytree.tree_leaves(batch))
        self.tally.forget_peak()
        self.module.eval()
        with torch.no_grad(), self.precision.forward_context():
            self.module.outputs(batch)


def _precision(name: str) -> Precision:
    """Return Lightning's plugin for a precision, as it acts on a CPU."""
    if name in ("bf16-mixed", "16-mixed", "bf16", "16"):
        return MixedPrecision("bf16-mixed" if name.startswith("bf16") else "16-mixed", "cpu")
    return precision_plugin(name) or Precision()


def _split_groups(optimizer: torch.optim.Optimizer) -> None:
    """Split the groups of fused optimizers, whose kernels update each parameter alone, in place."""
    groups: list[dict[str, Any]] = []
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
