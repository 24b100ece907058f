"""Fits models to our batches that know nothing of this project."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from lit_mlfund.data.serving.spec import DataSpec

DENSE = ("numeric", "image")  # kinds of inputs that are float32; the others are codes


class PlainModel(nn.Module):
    """Calls a module that took no `spec` with the inputs of a batch.

    The module is given the dict of named inputs. Where it cannot take a dict (`TypeError`, `AttributeError` in its
    first call) and there is one input, it is given that tensor: `torch.nn.Linear` and `torch.nn.Sequential` fit so. A
    last dimension of 1 is dropped from outputs that have none: logits of two classes, values, scores.

    Args:
        module: any `nn.Module` of one argument.
        squeeze: drop a last dimension of 1.
    """

    def __init__(self, module: nn.Module, squeeze: bool):
        super().__init__()
        self.module = module
        self.squeeze = squeeze
        self._takes_dict: bool | None = None

    def forward(self, x: dict[str, Tensor], **others: Any) -> Tensor:
        """Return the output of the module; the `mask` of lists is not handed on, as padding is left out by the loss."""
        if self._takes_dict is None and len(x) == 1:
            try:
                output = self.module(x)
            except (TypeError, AttributeError):
                self._takes_dict = False
            else:
                self._takes_dict = True
                return self._shaped(output)
        (single,) = x.values() if self._takes_dict is False else (x,)
        return self._shaped(self.module(single))

    def _shaped(self, output: Tensor) -> Tensor:
        return output.squeeze(-1) if self.squeeze and output.ndim > 1 and output.shape[-1] == 1 else output


def materialize(model: nn.Module, spec: DataSpec) -> None:
    """Give the parameters of lazy modules (`torch.nn.LazyLinear`) their shapes, in place, from rows of zeros.

    Args:
        model: one that is called with the inputs of a batch.
        spec: of the data.
    """
    if not any(isinstance(parameter, UninitializedParameter) for parameter in model.parameters()):
        return
    lists = (1,) if spec.task == "ranking" else ()
    rows = {
        name: torch.zeros(
            *lists, 2, *field.shape, dtype=torch.float32 if field.kind in DENSE else torch.int64
        )
        for name, field in spec.inputs.items()
    }
    training = model.training
    model.eval()
    with torch.no_grad():
        model(rows)
    model.train(training)
