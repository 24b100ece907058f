"""The unit of a target: what the loss receives, and what metrics and predictions are in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.losses import HuberLoss, PoissonLoss
from lit_mlfund.modules import RegressionModule

SPEC = DataSpec("regression", {"numeric": Field("numeric", (1,))}, target_mean=10.0, target_std=4.0)


@pytest.mark.parametrize(
    ("loss", "options", "inside", "outside"),
    [
        (HuberLoss(), {}, [-2.0, 0.5], [2.0, 12.0]),
        (None, {}, [-2.0, 0.5], [2.0, 12.0]),  # MSE
        (HuberLoss(), {"standardize_target": False}, [2.0, 12.0], [-2.0, 0.5]),
        (PoissonLoss(), {}, [2.0, 12.0], torch.tensor([-2.0, 0.5]).exp().tolist()),
        (PoissonLoss(), {"standardize_target": False}, [2.0, 12.0], torch.tensor([-2.0, 0.5]).exp().tolist()),
    ],
)
def test_units(
    loss: nn.Module | None, options: dict[str, bool], inside: list[float], outside: list[float]
) -> None:
    """`inside`: targets 2 and 12 as the loss receives them; `outside`: outputs -2 and .5 in the target's unit."""
    module = RegressionModule(nn.Linear(1, 1), loss, SPEC, **options)
    assert module.loss_target(torch.tensor([2.0, 12.0])).tolist() == inside
    assert module.natural(torch.tensor([-2.0, 0.5])).tolist() == pytest.approx(outside)
    assert module.init_arguments()["standardize_target"] == options.get("standardize_target", True)
