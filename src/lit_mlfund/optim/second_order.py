"""Creates Sophia, which scales steps by a diagonal estimate of the curvature and clips them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch

from lit_mlfund.optim.extras import needs
from lit_mlfund.optim.groups import scale_rates


@needs("pytorch_optimizer", extra="optim")
def sophia(
    params: Iterable[Any],
    *,
    lr: float = 0.06,
    betas: tuple[float, float] = (0.96, 0.99),
    clip: float = 0.01,
    weight_decay: float = 1e-3,
    update_period: int = 10,
    num_examples: int = 512,
    lr_by_pattern: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """Create Sophia-G (Liu et al. 2023, arXiv 2305.14342), a diagonal second-order method for language models.

    The step is `lr·clamp(m/h, ±clip)`: the paper's learning rate is `lr·clip`, its γ is `clip`. The curvature h is a
    running mean of B·g² over mini-batches of B examples, without a double backward. With g from labels *sampled from
    the model* it is the Gauss–Newton–Bartlett estimate (Algorithm 2 there): for that, whenever
    `optimizer.wants_curvature`, call `optimizer.record_curvature(B)` after a backward pass on sampled labels and clear
    these gradients (as `lit_mlfund.modules` does). Otherwise g is the training gradient (the "empirical Fisher":
    cheaper, and too large far from the optimum). 8 bytes of state per parameter. Needs the extra `optim`.

    Args:
        params: parameters, (name, parameter) pairs, or groups of either (`parameter_groups`).
        lr: learning rate in the units above; a step changes a weight by at most `lr·clip`.
        betas: decay rates of the momentum and of the curvature.
        clip: bound of the ratio m/h.
        weight_decay: default for groups without their own; decoupled: each step shrinks weights by lr·weight_decay.
        update_period: steps between two curvature estimates.
        num_examples: B for estimates from training gradients.
        lr_by_pattern: factors of `lr` by shell pattern of a parameter's name, `{"*table*": 0.1}`; needs named ones.
    """
    if update_period < 1:
        raise ValueError(f"update_period must be at least 1, got {update_period}")
    if num_examples < 1:
        raise ValueError(f"num_examples must be at least 1, got {num_examples}")
    params = scale_rates(params, lr, lr_by_pattern)
    optimizer = _sophia_g()(
        params, lr=lr, betas=tuple(betas), p=clip, weight_decay=weight_decay, update_period=2**62
    )
    optimizer.curvature_period = update_period
    optimizer.num_examples = num_examples
    return optimizer


@cache
def _sophia_g() -> Any:
    from pytorch_optimizer import SophiaH

    class SophiaG(SophiaH):  # type: ignore[misc]
        """Replaces SophiaH's curvature estimate, which needs a double backward, by one from gradients."""

        curvature_period = 10
        num_examples = 512
        _recorded: list[torch.Tensor] | None = None
        _from_sampled_labels = False

        @property
        def wants_curvature(self) -> bool:
            """Return whether the next step needs a new curvature estimate that has not been recorded yet."""
            return self._recorded is None and self.param_groups[0].get("step", 0) % self.curvature_period == 0

        @torch.no_grad()
        def record_curvature(self, num_examples: int) -> None:
            """Record an estimate from the current gradients, of a mean over `num_examples` sampled labels."""
            self._recorded = [
                torch.zeros_like(p) if p.grad is None else num_examples * p.grad**2
                for group in self.param_groups
                for p in group["params"]
            ]

        @torch.no_grad()
        def step(self, closure: Callable[[], Any] | None = None, hessian: Any = None) -> Any:
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            if self._recorded is not None:
                self._from_sampled_labels = True
            elif not self._from_sampled_labels and self.wants_curvature:
                self.record_curvature(self.num_examples)
            super().step(hessian=self._recorded if hessian is None else hessian)
            self._recorded = None
            for state in self.state.values():
                state.pop("hessian", None)
            return loss

    return SophiaG
