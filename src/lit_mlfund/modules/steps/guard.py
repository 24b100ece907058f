"""Stops a training before the optimizer step whose loss or gradient is not finite, with what it takes to repeat it."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

from lit_mlfund.diagnostics.evidence import NonFinite

NUM_NORMS = 50  # of the last steps, which tell a sudden fault from a slow explosion


class NonFiniteStep(FloatingPointError):
    """Signals that a step was not taken, as its loss or gradient is not finite.

    found    the step as it happened; what a replay finds out is filled in later
    batches  the (micro-)batches of the step, as the model got them
    random   the states of the random number generators before it: that of the CPU, then that of the device
    buffers  the buffers of the module before it, by name
    """

    def __init__(
        self, found: NonFinite, batches: list[Any], random: list[Tensor], buffers: dict[str, Tensor]
    ) -> None:
        what = (
            f"training loss is {found.loss}"
            if not math.isfinite(found.loss)
            else f"gradient norm is {found.norm}"
        )
        super().__init__(
            f"the {what} at step {found.step}: lower optim.lr (try a tenth), check "
            "trainer.gradient_clip_val, and look for extreme values in the data"
        )
        self.found, self.batches, self.random, self.buffers = found, batches, random, buffers


class StepGuard:
    """Looks at loss and gradient norm before every optimizer step; weights and buffers stay as they were before it.

    Reading both costs a synchronisation, which on a CPU is none. Where gradients are scaled (float16) an infinite
    norm is the scaler's business, which leaves the step out; then only the loss counts. With several processes the
    norm alone counts, which all of them share.

    Args:
        module: whose buffers are kept.
        scaled: whether gradients are scaled.
        shared: whether several processes train together.
    """

    def __init__(self, module: nn.Module, *, scaled: bool = False, shared: bool = False):
        self.scaled, self.shared = scaled, shared
        self.norms: deque[float] = deque(maxlen=NUM_NORMS)
        self._buffers = {name: b for name, b in module.named_buffers() if b.is_floating_point() and b.numel()}
        self._kept = {name: buffer.clone() for name, buffer in self._buffers.items()}
        self._versions = {name: buffer._version for name, buffer in self._buffers.items()}
        self._device = next((p.device for p in module.parameters()), torch.device("cpu"))
        self._batches: list[Any] = []
        self._losses: list[Tensor] = []
        self._random: list[Tensor] = []
        self._draws: bool | None = (
            None  # whether the first loss drew random numbers; the others are taken to do as it
        )

    def before_loss(self, batch: Any) -> None:
        """Remember a batch, and the state in which its loss is going to be computed."""
        if not self._batches:
            if self._draws is not False:
                self._random = self._states()
            for name, buffer in self._buffers.items():
                if buffer._version != self._versions[name]:  # most are constants
                    self._kept[name].copy_(buffer)
                    self._versions[name] = buffer._version
        self._batches.append(batch)

    def after_loss(self, loss: Tensor) -> None:
        """Remember the detached loss of the batch."""
        self._losses.append(loss)
        if self._draws is None:
            self._draws = not all(map(torch.equal, self._random, self._states()))

    def _states(self) -> list[Tensor]:
        """Return the states of the generators, which takes as long as all the rest of the guard."""
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def before_step(self, norm: Tensor | None, step: int) -> None:
        """Raise NonFiniteStep if the losses since the last step, or the norm of their gradient, are not finite.

        Args:
            norm: of all gradients, before clipping; None where there are none.
            step: number of the step that is about to be taken, from 1.
        """
        losses, batches = self._losses, self._batches
        self._losses, self._batches = [], []
        total = 0.0 if norm is None else float(norm)
        self.norms.append(total)
        if math.isfinite(total) and (self.shared or all(math.isfinite(float(loss)) for loss in losses)):
            return
        if self.scaled and all(math.isfinite(float(loss)) for loss in losses):
            return
        with torch.no_grad():
            for name, buffer in self._buffers.items():
                buffer.copy_(self._kept[name])
        loss = next((float(part) for part in losses if not math.isfinite(float(part))), None)
        self.norms.pop()
        found = NonFinite(
            step=step,
            loss=float(losses[-1]) if loss is None and losses else math.nan if loss is None else loss,
            norm=total,
            norms=[float(value) for value in self.norms],
        )
        raise NonFiniteStep(found, batches, self._random, {name: b.clone() for name, b in self._kept.items()})
