"""Tests models compiled by Inductor: forward and backward must use the same dropout masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lit_mlfund import models
from tests.models.specs import make_inputs, make_spec

SPEC = make_spec("binary", "numeric", "categorical", "tokens")


@pytest.mark.slow
def test_compiled_gradients_are_the_slope_of_the_loss() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = models.MLP(SPEC, hidden=(16, 8), dropout=0.5, code_dropout=0.3).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.compile()
    for size in (16, 11, 16):  # a second size triggers compilation for dynamic sizes
        x = make_inputs(SPEC.inputs, size, seed=size)
        x["numeric"] = x["numeric"].double()

        def loss() -> Tensor:
            torch.manual_seed(7)  # fixes the dropout masks
            return (model(x) - 1).square().mean()  # noqa: B023

        model.zero_grad()
        loss().backward()
        direction = [torch.randn_like(parameter) for parameter in model.parameters()]
        parts = [
            (p.grad * d).sum().item() for p, d in zip(model.parameters(), direction) if p.grad is not None
        ]
        losses = []
        for alpha in (1e-6, -2e-6):
            with torch.no_grad():
                for parameter, offset in zip(model.parameters(), direction):
                    parameter.add_(offset, alpha=alpha)
            losses.append(loss().item())
        assert sum(parts) == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5)
