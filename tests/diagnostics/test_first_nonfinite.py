"""The origin of a value that is not finite: the operation, its layer and the rows, and nothing that reaches no loss."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lit_mlfund.diagnostics.measures.first_nonfinite import Origin, first_nonfinite

Function = Callable[[Tensor], Tensor]


class Layer(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def origin(function: Function) -> Origin | None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"first": nn.Linear(4, 3), "middle": Layer(function)})
    x = torch.randn(8, 4)
    return first_nonfinite(lambda: model["middle"](model["first"](x)).sum(), model)


@pytest.mark.parametrize(
    ("function", "phase", "operation", "undefined"),
    [
        (lambda y: torch.log(0 * y), "forward", "log", "zero"),
        (lambda y: torch.log(-y.abs()), "forward", "log", "negative"),
        (lambda y: torch.log2(0 * y), "forward", "log2", "zero"),
        (lambda y: y / (0 * y), "forward", "div", "zero"),
        (lambda y: y.reciprocal() * 0 + (0 * y).reciprocal(), "forward", "reciprocal", "zero"),
        (lambda y: torch.sqrt(0 * y), "backward", "sqrt", "zero"),
        (lambda y: (0 * y) ** 0.5, "backward", "pow", "zero"),
        (lambda y: torch.sqrt(-y.abs()), "forward", "sqrt", "negative"),
        (lambda y: torch.exp(1000 * y.abs()), "forward", "exp", "overflow"),
        (lambda y: (1e30 * y) ** 2, "forward", "pow", "overflow"),
    ],
)
def test_operation_and_layer(function: Function, phase: str, operation: str, undefined: str) -> None:
    found = origin(function)
    assert found is not None
    assert (found.phase, found.operation, found.layer) == (phase, operation, "middle")
    assert [name for name in ("zero", "negative", "overflow") if getattr(found, name)] == [undefined]


def test_rows() -> None:
    def third(y: Tensor) -> Tensor:
        keep = torch.ones(8, 1)
        keep[3] = 0
        return torch.log((keep * y).abs())

    found = origin(third)
    assert found is not None and found.positions == [3] and found.shape == (8, 3)


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y,
        lambda y: y.masked_fill(y > 0, -torch.inf).softmax(1),
        lambda y: torch.sqrt(y.relu()),  # the infinite slope meets rows that get no gradient
        lambda y: (0 * y).norm(dim=1),
        lambda y: (0 * y).std(1),
        lambda y: torch.full_like(y, torch.inf).clamp(max=1) * y,
    ],
)
def test_what_reaches_no_gradient_is_no_origin(function: Function) -> None:
    assert origin(function) is None


def test_the_loss_tells_which_of_two_it_was() -> None:
    """A logarithm of zero that is thrown away comes first; the division is what counts."""

    def two(y: Tensor) -> Tensor:
        torch.log(0 * y)
        return y / (0 * y)

    found = origin(two)
    assert found is not None and found.operation == "div"
