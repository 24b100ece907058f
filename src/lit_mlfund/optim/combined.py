"""Several optimizers, each of its own parameters, as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer


class Combined(Optimizer):
    """Optimizers of disjoint parameters behind one `step`, one state and one list of groups.

    Schedules, hooks and checkpoints see a single optimizer, whose groups are those of the first part, then those of
    the next. The group dicts are the parts' own, so that a rate that is set here counts there. Each part loads its
    share of a checkpoint itself, since some keep state that torch would cast (8-bit moments).

    Args:
        parts: optimizers; the parts of a `Combined` among them are taken one by one.
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
        """The parts' states by parameter."""
        return {parameter: state for part in self.parts for parameter, state in part.state.items()}

    @state.setter
    def state(self, value: Any) -> None:
        """For torch's constructor: the parts have states of their own."""

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
        """Tell the parts that train other weights than they would serve (`schedule_free`) to go on training."""
        self._tell("train")

    def eval(self) -> None:
        """Tell the same parts that their weights are about to be looked at."""
        self._tell("eval")

    def _tell(self, mode: str) -> None:
        for part in self.parts:
            getattr(part, mode, lambda: None)()

    def state_dict(self) -> dict[str, Any]:
        """In the form of one torch optimizer: parameters are numbered over all groups."""
        state: dict[int, Any] = {}
        groups: list[dict[str, Any]] = []
        for part in self.parts:
            own, first = part.state_dict(), sum(len(group["params"]) for group in groups)
            state |= {first + number: value for number, value in own["state"].items()}
            groups += [
                {**group, "params": [first + number for number in group["params"]]}
                for group in own["param_groups"]
            ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raises ValueError where the groups are not those of the parts."""
        groups = list(state_dict["param_groups"])
        if len(groups) != len(self.param_groups):
            raise ValueError(f"expected {len(self.param_groups)} parameter groups, got {len(groups)}")
        for part in self.parts:
            own, groups = groups[: len(part.param_groups)], groups[len(part.param_groups) :]
            numbers = {number for group in own for number in group["params"]}
            state = {number: value for number, value in state_dict["state"].items() if number in numbers}
            part.load_state_dict({"state": state, "param_groups": own})
        self.param_groups = self._groups()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "parts": self.parts}
