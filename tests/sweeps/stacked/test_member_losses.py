"""The losses of members, computed together, against those of each by itself: the same bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lit_mlfund.losses import CrossEntropyLoss, FocalLoss, MSELoss
from lit_mlfund.losses.reduction import PointwiseLoss
from lit_mlfund.sweeps.stacked.member_losses import member_losses

MEMBERS, ROWS, CLASSES = 3, 32, 4
Build = Callable[..., PointwiseLoss]
CASES: dict[str, tuple[Build, dict[str, object]]] = {
    "mse": (MSELoss, {}),
    "cross_entropy": (CrossEntropyLoss, {}),
    "cross_entropy class_weight": (CrossEntropyLoss, {"class_weight": [0.5, 1.0, 2.0, 0.0]}),
    "focal class_weight": (FocalLoss, {"class_weight": [0.5, 1.0, 2.0, 0.0]}),
}


def batch(build: Build) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    if build is MSELoss:
        return torch.randn(MEMBERS, ROWS, generator=draw), torch.randn(MEMBERS, ROWS, generator=draw)
    target = torch.randint(CLASSES, (MEMBERS, ROWS), generator=draw)
    target[0] = 3  # a class of weight 0 in some cases: nothing counts
    return torch.randn(MEMBERS, ROWS, CLASSES, generator=draw), target


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_each_member(case: str, weighted: bool) -> None:
    build, options = CASES[case]
    output, target = batch(build)
    weight = torch.rand(MEMBERS, ROWS) if weighted else None
    if weight is not None:
        weight[1] = 0
    together = output.flatten(0, 1).clone().requires_grad_()
    losses = member_losses(
        build(**options, reduction="none"),
        MEMBERS,
        together,
        target.flatten(),
        None if weight is None else weight.flatten(),
    )
    losses.sum().backward()
    assert together.grad is not None
    for member, gradient in enumerate(together.grad.view_as(output)):
        own = output[member].clone().requires_grad_()
        alone = build(**options)(own, target[member], None if weight is None else weight[member])
        alone.backward()
        assert own.grad is not None
        assert torch.equal(losses[member], alone)
        assert torch.equal(gradient, own.grad)
