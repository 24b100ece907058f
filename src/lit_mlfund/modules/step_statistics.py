"""Accumulates statistics over training steps as tensors, so that no step waits for the device."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor


class RunningStatistics:
    """Accumulates loss and gradient norm since the last `read`, without a synchronisation in between."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._loss: Tensor | None = None
        self._norms: tuple[Tensor, Tensor, Tensor] | None = None  # sum, maximum, number of clipped steps
        self._num_losses = 0
        self._num_norms = 0

    @property
    def num_steps(self) -> int:
        """Return the number of losses added since the last read."""
        return self._num_losses

    def add_loss(self, loss: Tensor) -> None:
        """Add the detached loss of one (micro-)batch."""
        self._loss = loss.clone() if self._loss is None else self._loss.add_(loss)
        self._num_losses += 1

    def add_norm(self, norm: Tensor, limit: float) -> None:
        """Add the gradient norm of one optimizer step, before clipping at `limit`."""
        norm = norm.detach()
        if self._norms is None:
            self._norms = torch.zeros_like(norm), norm.clone(), torch.zeros_like(norm)
        total, largest, clipped = self._norms
        total.add_(norm)
        torch.maximum(largest, norm, out=largest)
        if math.isfinite(limit):
            clipped.add_(norm > limit)
        self._num_norms += 1

    def split(self, size: int) -> list[RunningStatistics]:
        """Split statistics of `size` trainings at once (losses and norms `[size]`) into those of each; reset."""
        parts = [copy.copy(self) for _ in range(size)]
        for i, part in enumerate(parts):
            if self._loss is not None:
                part._loss = self._loss[i]
            if self._norms is not None:
                total, largest, clipped = self._norms
                part._norms = total[i], largest[i], clipped[i]
        self._reset()
        return parts

    def state_dict(self) -> dict[str, Any]:
        """Return the sums since the last read, as plain tensors and numbers."""
        return {
            "loss": self._loss,
            "norms": None if self._norms is None else list(self._norms),
            "num_losses": self._num_losses,
            "num_norms": self._num_norms,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from the sums of an interrupted training, on `device`."""
        self._loss = None if state["loss"] is None else state["loss"].to(device)
        self._num_losses = state["num_losses"]
        norms = None if state["norms"] is None else [norm.to(device) for norm in state["norms"]]
        self._norms = None if norms is None else (norms[0], norms[1], norms[2])
        self._num_norms = state["num_norms"]

    def read(self) -> dict[str, float]:
        """Return the means since the last read (`train/loss`, `gradient/norm`, …); synchronise once and reset."""
        values: dict[str, float] = {}
        if self._loss is not None:
            values["train/loss"] = float(self._loss) / self._num_losses
        if self._norms is not None:
            total, largest, clipped = (float(value) for value in self._norms)
            values["gradient/norm"] = total / self._num_norms
            values["gradient/norm_max"] = largest
            values["gradient/clipped_share"] = clipped / self._num_norms
        self._reset()
        return values
