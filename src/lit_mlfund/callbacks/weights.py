"""How large the weights are and how far a step moves them, seen now and then."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

MOST_GROUPS = 20


def layer_groups(model: nn.Module, most: int = MOST_GROUPS) -> dict[str, list[nn.Parameter]]:
    """Trainable parameters by the module that they are in; by the modules around it where these are too many."""
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
        if len(groups) <= most or depth <= 1:
            return groups
        depth -= 1


class WeightStatistics(Callback):
    """Logs weight norms, update-to-weight ratios, momentum and the effective batch size to TensorBoard.

    It looks at one step at the start of an epoch, and at one every `every_n_logs` times that the loss is logged; the
    others cost nothing. A ratio ‖Δw‖ / ‖w‖ about 1e-3 is usual under a good learning rate: far below it hardly
    learns, far above it forgets what it has learned. Of a table with sparse gradients both norms are those of the rows
    that the step moves.

    Args:
        every_n_logs: `trainer.log_every_n_steps` times this is the distance of two looks.
    """

    many_steps = True

    def __init__(self, *, every_n_logs: int = 4):
        if every_n_logs < 1:
            raise ValueError(f"every_n_logs must be at least 1, got {every_n_logs}")
        self.every_n_logs = every_n_logs
        self._groups: dict[str, list[nn.Parameter]] = {}
        self._sharded = False
        self._hooks: list[Any] = []
        self._before: list[tuple[Tensor | None, Tensor]] | None = None  # rows (None for all) and weights
        self._seen: Tensor | None = None  # [2, groups]: norms of weights and of updates

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._sharded = any(hasattr(parameter, "to_local") for parameter in pl_module.model.parameters())
        self._groups = layer_groups(pl_module.model) if trainer.logger is not None else {}
        size = getattr(trainer.datamodule, "batch_size", None)  # type: ignore[attr-defined]
        if size and trainer.logger is not None:
            effective = size * trainer.accumulate_grad_batches * trainer.world_size
            trainer.logger.log_metrics({"batch/effective_size": effective}, step=trainer.global_step)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._look_at_next(trainer)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._seen is not None:
            self._log(trainer)
        steps = (batch_idx + 1) * pl_module.steps_per_call
        if steps % (trainer.log_every_n_steps * self.every_n_logs) == 0:
            self._look_at_next(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._unhook()

    def _look_at_next(self, trainer: Any) -> None:
        if self._groups and not self._hooks:
            optimizer = trainer.optimizers[0]
            self._hooks = [
                optimizer.register_step_pre_hook(self._remember),
                optimizer.register_step_post_hook(self._compare),
            ]

    def _unhook(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._before, self._seen = [], None, None

    @torch.no_grad()
    def _remember(self, *_: Any) -> None:
        if self._seen is None and self._before is None:
            parameters = [parameter for group in self._groups.values() for parameter in group]
            self._before = [
                (rows, _local(parameter).clone() if rows is None else parameter.index_select(0, rows))
                for parameter, rows in zip(parameters, map(_rows, parameters))
            ]

    @torch.no_grad()
    def _compare(self, *_: Any) -> None:
        if self._before is None:
            return
        parameters = [parameter for group in self._groups.values() for parameter in group]
        moved = [
            ((_local(parameter) if rows is None else parameter.index_select(0, rows)) - before).norm()
            for parameter, (rows, before) in zip(parameters, self._before)
        ]
        norms = torch._foreach_norm([before for _, before in self._before])
        sizes = [len(group) for group in self._groups.values()]
        both = [
            torch.stack([torch.stack(part).norm() for part in _split(values, sizes)])
            for values in (norms, moved)
        ]
        seen = torch.stack(both)
        if self._sharded:  # each process has seen its own parts
            squares = seen.square()
            torch.distributed.all_reduce(squares)
            seen = squares.sqrt()
        self._seen, self._before = seen, None

    def _log(self, trainer: Any) -> None:
        assert self._seen is not None and trainer.logger is not None
        norms, moved = self._seen.tolist()
        values: dict[str, float] = {}
        for name, norm, step in zip(self._groups, norms, moved):
            values[f"weights/norm/{name}"] = norm
            if norm > 0:
                values[f"weights/update_ratio/{name}"] = step / norm
        for number, group in enumerate(trainer.optimizers[0].param_groups):
            momentum = group.get("momentum", group.get("betas", (None,))[0])
            if momentum is not None:
                values[f"momentum/{group.get('name', f'group{number}')}"] = float(momentum)
        trainer.logger.log_metrics(values, step=trainer.global_step)
        self._unhook()


def _local(parameter: Any) -> Tensor:
    """A parameter, or the part of it that this process has."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def _rows(parameter: nn.Parameter) -> Tensor | None:
    """The rows that a sparse gradient has; None for all."""
    gradient = parameter.grad
    return gradient.coalesce().indices()[0] if gradient is not None and gradient.is_sparse else None


def _split(values: Any, sizes: list[int]) -> list[list[Tensor]]:
    parts, start = [], 0
    for size in sizes:
        parts.append(list(values[start : start + size]))
        start += size
    return parts
