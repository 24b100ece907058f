"""Combines optimizers of disjoint parameters into one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer


class Combined(Optimizer):
    """Presents optimizers of disjoint parameters with one `step`, one state and one list of groups.

    Schedules, hooks and checkpoints see a single optimizer, whose groups are the parts' groups in order. The group
    dicts are shared with the parts, so that a learning rate set here takes effect there. Each part loads its share of
    a checkpoint itself, since some have state that torch would cast (8-bit moments).

    Args:
        parts: optimizers; any `Combined` among them is replaced by its parts.
    """

    def __init__(self, parts: Iterable[Optimizer]) -> None:
        self.parts: list[Optimizer] = [
            inner for part in parts for inner in (part.parts if isinstance(part, Combined) else [part])
        ]
        super().__init__(self._groups(), {})

    def _groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    @property  # type: ignore[override]
    def state(self) -> dict[Any, Any]:
        """Return the parts' states by parameter."""
        return {parameter: state for part in self.parts for parameter, state in part.state.items()}

    @state.setter
    def state(self, value: Any) -> None:
        """Ignore the empty state that torch's constructor assigns: the state is in the parts."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def train(self) -> None:
        """Switch parts whose training weights differ from those for evaluation (`schedule_free`) to training mode."""
        self._set_mode("train")

    def eval(self) -> None:
        """Switch the same parts to evaluation mode."""
        self._set_mode("eval")

    def _set_mode(self, mode: str) -> None:
        for part in self.parts:
            getattr(part, mode, lambda: None)()

    def state_dict(self) -> dict[str, Any]:
        """Return the state in the format of one torch optimizer: parameters are numbered over all groups."""
        state: dict[int, Any] = {}
        groups: list[dict[str, Any]] = []
        for part in self.parts:
            part_state, first = part.state_dict(), sum(len(group["params"]) for group in groups)
            state |= {first + number: value for number, value in part_state["state"].items()}
            groups += [
                {**group, "params": [first + number for number in group["params"]]}
                for group in part_state["param_groups"]
            ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load each part's share of the state; raise ValueError if the number of groups differs."""
        groups = list(state_dict["param_groups"])
        if len(groups) != len(self.param_groups):
            raise ValueError(f"expected {len(self.param_groups)} parameter groups, got {len(groups)}")
        for part in self.parts:
            part_groups, groups = groups[: len(part.param_groups)], groups[len(part.param_groups) :]
            numbers = {number for group in part_groups for number in group["params"]}
            state = {number: value for number, value in state_dict["state"].items() if number in numbers}
            part.load_state_dict({"state": state, "param_groups": part_groups})
        self.param_groups = self._groups()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "parts": self.parts}
