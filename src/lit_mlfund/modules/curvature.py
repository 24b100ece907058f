"""Estimates curvature by Gauss–Newton–Bartlett: from the gradient on targets drawn from the model itself.

The Gauss–Newton matrix of a negative log-likelihood is the covariance of its gradient under the model's own predictions
(Bartlett's identity): no second derivative is needed, one backward pass on drawn targets is enough (Liu et al. 2023,
arXiv 2305.14342, Algorithm 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_mlfund.losses import BinaryCrossEntropyLoss, CrossEntropyLoss, MSELoss
from lit_mlfund.startup.streams import warn


def losses_of_draws(loss: nn.Module, output: Tensor, generator: np.random.Generator) -> Tensor | None:
    """Return losses `[N]` against targets drawn from the distribution whose negative log-likelihood is `loss`.

    It is Bernoulli for binary and categorical for several classes; normal with variance ½ for the squared error. With
    smoothed labels the curvature is that of unsmoothed ones, which are drawn. None where `loss` is not the likelihood
    of a distribution known here, or weights classes, in which case the curvature depends on the target.

    Args:
        loss: the loss of the module.
        output: `[N]`, or `[N, K]` logits (dimensions before the last are flattened), with its graph.
        generator: random numbers on the CPU, whatever the device of `output`.
    """
    output = output.float()
    predicted = output.detach()
    if isinstance(loss, BinaryCrossEntropyLoss) and loss.pos_weight is None:
        drawn = (_uniform(generator, predicted) < predicted.sigmoid()).float()
        return F.binary_cross_entropy_with_logits(output, drawn, reduction="none")
    if isinstance(loss, CrossEntropyLoss) and loss.class_weight is None:
        output, cumulative = output.flatten(0, -2), predicted.flatten(0, -2).softmax(-1).cumsum(-1)
        level = _uniform(generator, cumulative[:, :1]) * cumulative[:, -1:]
        classes = (
            torch.searchsorted(cumulative, level, right=True).squeeze(-1).clamp(max=output.shape[-1] - 1)
        )
        return F.cross_entropy(output, classes, reduction="none")
    if isinstance(loss, MSELoss):
        noise = torch.from_numpy(generator.standard_normal(tuple(output.shape), dtype=np.float32))
        return (output - (predicted + 0.5**0.5 * noise.to(output.device))).square()
    return None


def _uniform(generator: np.random.Generator, reference: Tensor) -> Tensor:
    return torch.from_numpy(generator.random(tuple(reference.shape), dtype=np.float32)).to(reference.device)


class Curvature:
    """Provides an optimizer that has `record_curvature` with its estimate, before each step that needs one.

    The draws depend on the seed, the step and the process only, so that a resumed run repeats them. Under gradient
    accumulation the first batch of the step is used. If the loss allows no draws, a message says so once, and the
    optimizer estimates curvature from training gradients.

    Args:
        module: a `TaskModule`, for its `losses_of_draws`.
        optimizer: an optimizer with `record_curvature` and `wants_curvature`.
    """

    def __init__(self, module: Any, optimizer: Any):
        self.module, self.optimizer = module, optimizer
        self.parameters: list[nn.Parameter] = [p for g in optimizer.param_groups for p in g["params"]]
        self.usable = True

    @classmethod
    def of(cls, module: Any, optimizer: Any) -> Curvature | None:
        """Return the estimator for `optimizer`; None if the optimizer records no curvature."""
        return cls(module, optimizer) if hasattr(optimizer, "record_curvature") else None

    def before_step(self, batch: Any) -> None:
        """Estimate curvature from `batch` if the next step needs it; gradients are cleared."""
        if not self.usable or not self.optimizer.wants_curvature:
            return
        module = self.module
        step = self.optimizer.param_groups[0].get("step", 0)
        generator = np.random.default_rng([torch.initial_seed() % 2**63, step, module.global_rank, 5])
        losses, weight = module.losses_of_draws(batch, generator)
        if losses is None:
            self.usable = False
            if module.trainer.is_global_zero:
                name = type(module.loss).__name__
                warn(f"curvature: from training gradients, as {name} defines no distribution to draw from")
            return
        if weight is not None:  # E[g²] is then the weighted mean of the examples' curvatures
            losses = losses * (weight / weight.mean()).sqrt().flatten()
        self._clear()
        with _synchronized(module.model):
            losses.mean().backward()
        self._average()
        self.optimizer.record_curvature(len(losses) * module.trainer.world_size)
        self._clear()

    def _clear(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def _average(self) -> None:
        """Average gradients over processes: DistributedDataParallel does not see this backward pass; FSDP does."""
        world_size = self.module.trainer.world_size
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if world_size > 1 and not hasattr(gradients[0], "to_local"):
            flat = nn.utils.parameters_to_vector(gradients)
            torch.distributed.all_reduce(flat)
            nn.utils.vector_to_parameters(flat / world_size, gradients)


@contextmanager
def _synchronized(model: Any) -> Iterator[None]:
    """Let FSDP2 reduce gradients, which it otherwise does only in the last batch of an accumulated step."""
    switch = getattr(model, "set_requires_gradient_sync", None)
    if switch is None or model._get_fsdp_state()._fsdp_param_group.reduce_grads:
        yield
        return
    switch(True)
    try:
        yield
    finally:
        switch(False)
