"""Adapts models of other packages to our batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from lit_mlfund.data.serving.spec import DataSpec

DENSE = ("numeric", "image")  # kinds of inputs that are float32; the others are codes


class PlainModel(nn.Module):
    """Calls a module that takes no `spec` with the inputs of a batch.

    The module receives the dict of named inputs. If it cannot take a dict (`TypeError`, `AttributeError` in its first
    call) and there is one input, it receives that tensor, as `torch.nn.Linear` and `torch.nn.Sequential` need. A last
    dimension of 1 is dropped where the task's outputs have none: binary logits, values, scores.

    Args:
        module: any `nn.Module` with one argument.
        squeeze: whether to drop a last dimension of 1.
    """

    def __init__(self, module: nn.Module, squeeze: bool):
        super().__init__()
        self.module = module
        self.squeeze = squeeze
        self._takes_dict: bool | None = None

    def forward(self, x: dict[str, Tensor], **others: Any) -> Tensor:
        """Return the output of the module; the `mask` of lists is not passed on, as the loss ignores padding."""
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
        model: a model that is called with the inputs of a batch.
        spec: description of the data.
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
