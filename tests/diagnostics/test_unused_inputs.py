"""Inputs that a model does not look at, found without knowing the model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.diagnostics.measures.unused_inputs import unused_inputs
from lit_mlfund.models import MLP, Linear

FIELDS = {
    "numeric": Field("numeric", (4,), ("a", "b", "c", "d")),
    "categorical": Field("categorical", (3,), ("color", "shape", "day"), (5, 3, 200)),
    "tokens": Field("tokens", (6,), (), (50,)),
}
SPEC = DataSpec("multiclass", FIELDS, classes=("x", "y", "z"))


def rows(num: int = 40) -> dict[str, Tensor]:
    torch.manual_seed(0)
    codes = torch.stack([torch.randint(0, n, (num,)) for n in (5, 3, 200)], 1)
    return {"numeric": torch.randn(num, 4), "categorical": codes, "tokens": torch.randint(0, 50, (num, 6))}


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_names_what_is_unused(name: str) -> None:
    torch.manual_seed(0)
    model: nn.Module = Linear(SPEC) if name == "linear" else MLP(SPEC)
    model.eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    x = rows()
    assert unused_inputs(model, x, FIELDS) == {"numeric": [], "categorical": []}
    with torch.no_grad():
        if name == "linear":
            model.terms["numeric"].weight[:, [1, 3]] = 0.0
            model.terms["categorical"].table.weight[5:8] = 0.0
        else:
            first = next(module for module in model.modules() if isinstance(module, nn.Linear))
            tables = {"color": 0, "shape": 5, "day": 8}
            numbers = next(c for c in range(first.in_features - 3) if _depends(model, x, first, c) == ["a"])
            first.weight[:, [numbers + 1, numbers + 3]] = 0.0
            table = next(module for module in model.modules() if isinstance(module, nn.Embedding))
            table.weight[tables["shape"] : tables["day"]] = 0.0
    assert unused_inputs(model, x, FIELDS) == {"numeric": ["b", "d"], "categorical": ["shape"]}


def _depends(model: nn.Module, x: dict[str, Tensor], first: nn.Linear, column: int) -> list[str]:
    """The numbers that reach a column of the first layer's input."""
    seen: list[Tensor] = []
    handle = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, column].clone()))
    model(x)
    for number in range(4):
        numeric = x["numeric"].clone()
        numeric[:, number] += 1
        model({**x, "numeric": numeric})
    handle.remove()
    return ["abcd"[n] for n in range(4) if not torch.equal(seen[0], seen[n + 1])]


def test_names_without_names_and_a_field_that_is_ignored() -> None:
    fields = {"numeric": Field("numeric", (2,)), "image": Field("image", (1, 2, 2))}
    x = {"numeric": torch.randn(5, 2), "image": torch.randn(5, 1, 2, 2)}
    assert unused_inputs(lambda x: x["image"].sum((1, 2, 3)), x, fields) == {
        "numeric": ["numeric[0]", "numeric[1]"]
    }
    assert unused_inputs(lambda x: x["numeric"][:, 1], x, fields) == {"numeric": ["numeric[0]"]}
