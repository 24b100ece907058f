"""Trains whole models in half or double precision, for which Lightning's own plugins refuse frozen dataclasses."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision, Precision
from torch import nn

from lit_mlfund.data.serving.batch import Movable

_TYPES = {
    "bf16-true": torch.bfloat16,
    "16-true": torch.float16,
    "64-true": torch.float64,
    "64": torch.float64,
}


class _Half(HalfPrecision):
    def convert_input(self, data: Any) -> Any:
        return _converted(data, _TYPES[self.precision])


class _Double(DoublePrecision):
    def convert_input(self, data: Any) -> Any:
        return _converted(data, torch.float64)


def _converted(data: Any, dtype: torch.dtype) -> Any:
    if isinstance(data, tuple):
        return tuple(_converted(part, dtype) for part in data)
    return data.in_precision(dtype) if isinstance(data, Movable) else data


def in_precision(module: nn.Module, precision: str) -> None:
    """Convert a module as the Trainer does for a precision; most leave the weights as they are."""
    if (dtype := _TYPES.get(str(precision))) is not None:
        module.to(dtype)


def precision_plugin(precision: str) -> Precision | None:
    """Return the plugin for a precision in which weights and batches are converted; None for Lightning's own choice."""
    dtype = _TYPES.get(precision)
    if dtype is None:
        return None
    return _Double() if dtype is torch.float64 else _Half(precision)  # type: ignore[arg-type]
