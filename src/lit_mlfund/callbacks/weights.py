"""Logs weight norms and update sizes of occasional training steps."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

MAX_GROUPS = 20


def layer_groups(model: nn.Module, max_groups: int = MAX_GROUPS) -> dict[str, list[nn.Parameter]]:
    """Group trainable parameters by module, or by enclosing modules where that makes more than `max_groups`."""
    named = [
        (name.split("."), parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    depth = max((len(path) for path, _ in named), default=1)
    while True:
        groups: dict[str, list[nn.Parameter]] = {}
        for path, parameter in named:
            groups.setdefault(".".join(path[:-1][:depth]) or "model", []).append(parameter)
        if len(groups) <= max_groups or depth <= 1:
            return groups
        depth -= 1


class WeightStatistics(Callback):
    """Logs weight norms, update-to-weight ratios, momentum and the effective batch size to TensorBoard.

    Measures one step at the start of each epoch, and one each time the loss has been logged `every_n_logs` times; all
    other steps cost nothing. With a good learning rate the ratio ‖Δw‖ / ‖w‖ is typically about 1e-3: far below, the
    model hardly learns; far above, it forgets what it has learned. For tables with sparse gradients both norms cover
    only the rows that the step updates.

    Args:
        every_n_logs: interval between two measured steps, in units of `trainer.log_every_n_steps`.
    """

    many_steps = True

    def __init__(self, *, every_n_logs: int = 4):
        if every_n_logs < 1:
            raise ValueError(f"every_n_logs must be at least 1, got {every_n_logs}")
        self.every_n_logs = every_n_logs
        self._groups: dict[str, list[nn.Parameter]] = {}
        self._sharded = False
        self._hooks: list[Any] = []
        self._before: list[tuple[Tensor | None, Tensor]] | None = (
            None  # rows (None for all) and their weights
        )
        self._norms: Tensor | None = None  # [2, groups]: norms of weights and of updates

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._sharded = any(hasattr(parameter, "to_local") for parameter in pl_module.model.parameters())
        self._groups = layer_groups(pl_module.model) if trainer.loggers else {}
        size = getattr(trainer.datamodule, "batch_size", None)  # type: ignore[attr-defined]
        if size:
            effective = size * trainer.accumulate_grad_batches * trainer.world_size
            for logger in trainer.loggers:
                logger.log_metrics({"batch/effective_size": effective}, step=trainer.global_step)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._measure_next_step(trainer)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._norms is not None:
            self._log(trainer)
        steps = (batch_idx + 1) * pl_module.steps_per_call
        if steps % (trainer.log_every_n_steps * self.every_n_logs) == 0:
            self._measure_next_step(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._remove_hooks()

    def _measure_next_step(self, trainer: Any) -> None:
        if self._groups and not self._hooks:
            optimizer = trainer.optimizers[0]
            self._hooks = [
                optimizer.register_step_pre_hook(self._snapshot),
                optimizer.register_step_post_hook(self._measure_update),
            ]

    def _remove_hooks(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._before, self._norms = [], None, None

    @torch.no_grad()
    def _snapshot(self, *_: Any) -> None:
        if self._norms is None and self._before is None:
            parameters = [parameter for group in self._groups.values() for parameter in group]
            self._before = [
                (rows, _local_tensor(parameter).clone() if rows is None else parameter.index_select(0, rows))
                for parameter, rows in zip(parameters, map(_gradient_rows, parameters))
            ]

    @torch.no_grad()
    def _measure_update(self, *_: Any) -> None:
        if self._before is None:
            return
        parameters = [parameter for group in self._groups.values() for parameter in group]
        updates = [
            ((_local_tensor(parameter) if rows is None else parameter.index_select(0, rows)) - before).norm()
            for parameter, (rows, before) in zip(parameters, self._before)
        ]
        norms = torch._foreach_norm([before for _, before in self._before])
        sizes = [len(group) for group in self._groups.values()]
        group_norms = torch.stack(
            [
                torch.stack([torch.stack(part).norm() for part in _split(values, sizes)])
                for values in (norms, updates)
            ]
        )
        if self._sharded:  # each process has measured its own shards
            squares = group_norms.square()
            torch.distributed.all_reduce(squares)
            group_norms = squares.sqrt()
        self._norms, self._before = group_norms, None

    def _log(self, trainer: Any) -> None:
        assert self._norms is not None
        norms, updates = self._norms.tolist()
        values: dict[str, float] = {}
        for name, norm, update in zip(self._groups, norms, updates):
            values[f"weights/norm/{name}"] = norm
            if norm > 0:
                values[f"weights/update_ratio/{name}"] = update / norm
        for number, group in enumerate(trainer.optimizers[0].param_groups):
            momentum = group.get("momentum", group.get("betas", (None,))[0])
            if momentum is not None:
                values[f"momentum/{group.get('name', f'group{number}')}"] = float(momentum)
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
        self._remove_hooks()


def _local_tensor(parameter: Any) -> Tensor:
    """Return a parameter, or this process's shard of it."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def _gradient_rows(parameter: nn.Parameter) -> Tensor | None:
    """Return the row indices of a sparse gradient, or None for a dense one."""
    gradient = parameter.grad
    return gradient.coalesce().indices()[0] if gradient is not None and gradient.is_sparse else None


def _split(values: Any, sizes: list[int]) -> list[list[Tensor]]:
    parts, start = [], 0
    for size in sizes:
        parts.append(list(values[start : start + size]))
        start += size
    return parts
