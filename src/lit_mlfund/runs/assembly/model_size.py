"""Stops a model that is larger than the memory before its tensors are allocated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from lit_mlfund.memory import OutOfMemory, as_size, free_bytes

_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}


class ModelSize(TorchFunctionMode):
    """Adds up the tensors that are created within it; raises OutOfMemory for the one that does not fit.

    Nothing else than the sizes is looked at, so that the numbers of a model do not change. Without it, the system
    may promise the memory, and kill the process when the weights are written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.free = free_bytes()
        self.total = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if (
            func in _FACTORIES
            and torch.device(kwargs.get("device") or torch.get_default_device()).type == "cpu"
        ):
            self._add(_shape(args, kwargs), kwargs.get("dtype") or torch.get_default_dtype())
        return func(*args, **kwargs)

    def _add(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        size = math.prod(shape) * dtype.itemsize
        self.total += size
        if self.total > self.free:
            before = f" after {as_size(self.total - size)} of others" if self.total > size else ""
            raise OutOfMemory(
                f"model: larger than memory: its tensor {list(shape)} takes {as_size(size)}{before}, and "
                f"{as_size(self.free)} are free; make the model smaller (its widths, its depth, its embeddings)"
            )


def _shape(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[int, ...]:
    size = kwargs.get("size", args)
    if len(size) and isinstance(size[0], (tuple, list)):
        size = size[0]
    return tuple(int(number) for number in size if not isinstance(number, bool))
