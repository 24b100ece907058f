"""Sums losses with weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

import torch
from torch import Tensor, nn


class Part(TypedDict):
    """Holds one loss of the sum and its weight."""

    loss: Any  # an nn.Module with `tasks`
    weight: float


class CompositeLoss(nn.Module):
    """Computes Σ weight · loss over named parts, all called with the same arguments.

    parts           {name: {"loss": a loss module, "weight": a number >= 0}}; a name has no dot. Each loss returns
                    its mean; for losses per example call the parts, built with reduction="none", one by one
    forward         takes the arguments of its parts

    `tasks` are those that every part can train. After a call `parts` maps each name to the value of its part, without
    weight and gradient, for logging. `link` is that of its parts ("log": the model predicts the log of the target).
    Raises ValueError if there are no parts, one lacks its loss or weight or does not return its mean, no task is
    common to all, or their links differ.

    >>> from lit_mlfund.losses import HuberLoss, MAELoss
    >>> huber, mae = {"loss": HuberLoss(), "weight": 1.0}, {"loss": MAELoss(), "weight": 0.5}
    >>> loss = CompositeLoss({"huber": huber, "mae": mae})
    >>> loss(torch.tensor([3.0]), torch.tensor([0.0]))
    tensor(4.)
    >>> loss.parts
    {'huber': tensor(2.5000), 'mae': tensor(3.)}
    """

    tasks: tuple[str, ...] = ("binary", "multiclass", "regression", "ranking", "retrieval")

    def __init__(self, parts: Mapping[str, Part]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("parts: expected at least one {name: {loss, weight}}, got none")
        for name, part in parts.items():
            _check_part(name, part)
        self.losses = nn.ModuleDict({name: part["loss"] for name, part in parts.items()})
        self.weights = {name: float(part["weight"]) for name, part in parts.items()}
        tasks = {name: tuple(part["loss"].tasks) for name, part in parts.items()}
        self.tasks = tuple(task for task in type(self).tasks if all(task in part for part in tasks.values()))
        if not self.tasks:
            raise ValueError(f"parts: expected a task that all of them can train, got {tasks}")
        links = {name: getattr(part["loss"], "link", "identity") for name, part in parts.items()}
        if len(set(links.values())) > 1:
            raise ValueError(f"parts: expected the same link in all, got {links}")
        self.link = next(iter(links.values()))
        self.parts: dict[str, Tensor] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        values = {name: loss(*args, **kwargs) for name, loss in self.losses.items()}
        self.parts = {name: value.detach() for name, value in values.items()}
        return torch.stack([self.weights[name] * value for name, value in values.items()]).sum()

    def extra_repr(self) -> str:
        return f"weights={self.weights}"


def _check_part(name: str, part: Any) -> None:
    if not isinstance(part, Mapping) or set(part) != {"loss", "weight"}:
        got = sorted(part) if isinstance(part, Mapping) else part
        raise ValueError(f"parts.{name}: expected the keys loss and weight, got {got}")
    if not isinstance(part["loss"], nn.Module) or not hasattr(part["loss"], "tasks"):
        raise ValueError(f"parts.{name}.loss: expected a loss module with `tasks`, got {part['loss']!r}")
    if getattr(part["loss"], "reduction", "mean") == "none":
        raise ValueError(f"parts.{name}.loss: expected reduction='mean', got 'none': the sum is of means")
    weight = part["weight"]
    if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise ValueError(f"parts.{name}.weight: expected a number of at least 0, got {weight!r}")
