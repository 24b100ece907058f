"""Tries a trained module on a few rows: does it repeat itself, what reaches its loss, which units are dead."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from lit_mlfund.data.serving.batch import ListBatch
from lit_mlfund.datamodules import DataModule
from lit_mlfund.diagnostics.evidence import Checks
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.sharding import is_shared

ON_LOGITS = {"BinaryCrossEntropyLoss", "CrossEntropyLoss", "FocalLoss", "BCEWithLogitsLoss"}
RECTIFIERS = (nn.ReLU, nn.ReLU6)
LINEAR = ("Addmm", "Mm", "Bmm", "Baddbmm", "Add", "Sub", "Sum", "Mean", "Convolution")  # of autograd's nodes
SHAPES = (
    "Squeeze",
    "Unsqueeze",
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Select",
    "Slice",
    "T",
    "Permute",
    "Transpose",
)
MAX_COLUMNS = 200


@torch.no_grad()
def check_module(module: TaskModule, data: DataModule, rows: int) -> tuple[Checks, str]:
    """Try the module on validation rows; return what was seen, or nothing and why."""
    if is_shared(module):
        return Checks(), "the weights lie in several processes"
    store: Any = data.stores.get("val")
    if not hasattr(store, "batch"):
        return Checks(), "validation rows cannot be taken by number"
    index = torch.linspace(0, len(store) - 1, min(rows, len(store))).long()
    batch = module.received(store.batch(index))
    training, state = module.training, torch.get_rng_state()
    module.eval()
    try:
        seen = _Seen(module)
        with seen, torch.enable_grad():  # its graph names the last operation
            first = module.outputs(batch)[1].output.detach()
        second = module.outputs(batch)[1].output
    finally:
        module.train(training)
        torch.set_rng_state(state)
    checks = Checks(
        repeated=float((first.double() - second.double()).abs().nan_to_num().max()),
        on_logits=type(module.loss).__name__ in ON_LOGITS,
        dead={name: share for name, share in seen.dead.items() if share > 0},
    )
    raw = seen.raw
    if raw is not None and raw.numel() and raw.is_floating_point():
        sums = raw.dim() > 1 and bool((raw.sum(-1) - 1).abs().max() < 1e-3)
        checks = dataclasses.replace(
            checks,
            raw_low=float(raw.min()),
            raw_high=float(raw.max()),
            raw_sums_to_1=sums,
            raw_is_linear=seen.raw_is_linear,
        )
    return dataclasses.replace(checks, scales=_scales(module, batch)), ""


class _Seen(ExitStack):
    """Watches one evaluation: what the loss receives, and the units behind each rectifier."""

    def __init__(self, module: TaskModule):
        super().__init__()
        self.raw: Tensor | None = None
        self.raw_is_linear = False
        self.dead: dict[str, float] = {}
        self.callback(module.loss.register_forward_pre_hook(self._loss).remove)
        for name, part in module.model.named_modules():
            if isinstance(part, RECTIFIERS):
                self.callback(part.register_forward_hook(self._rectifier(name)).remove)

    def _loss(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], Tensor):
            self.raw = arguments[0].detach().float()
            self.raw_is_linear = _is_linear(arguments[0])

    def _rectifier(self, name: str) -> Any:
        def hook(_: nn.Module, arguments: Any, output: Tensor) -> None:
            units = output.movedim(1, -1) if output.ndim == 4 else output
            zero = (units.reshape(-1, units.shape[-1]) == 0).all(0)
            self.dead[name] = float(zero.float().mean())

        return hook


def _is_linear(output: Tensor) -> bool:
    """Return whether the last operation, but for changes of the shape, is a linear one."""
    node = output.grad_fn
    while node is not None and _operation(node) in SHAPES:
        node = node.next_functions[0][0]
    return node is not None and _operation(node) in LINEAR


def _operation(node: Any) -> str:
    """Return the operation of a node of autograd's graph, such as `Addmm` of `AddmmBackward0`."""
    name: str = node.name()
    return name.partition("Backward")[0]


def _scales(module: TaskModule, batch: Any) -> dict[str, float]:
    """Return the standard deviation of each numeric column."""
    if not hasattr(batch, "x"):
        return {}
    scales: dict[str, float] = {}
    for name, field in module.spec.inputs.items():
        if field.kind == "numeric" and len(field.names) == field.shape[0] <= MAX_COLUMNS:
            values = batch.x[name]
            values = values[batch.mask] if isinstance(batch, ListBatch) else values
            scales |= dict(zip(field.names, values.double().std(0, correction=0).tolist()))
    return scales
