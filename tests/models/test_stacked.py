"""Tests that a stacked model is bit-identical to its separate members, dropout included."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    FocalLoss,
    HingeLoss,
    HuberLoss,
    MAELoss,
    MSELoss,
    PoissonLoss,
    QuantileLoss,
)
from lit_mlfund.losses.reduction import PointwiseLoss
from lit_mlfund.models import MLP, Linear
from lit_mlfund.models.stacked import stack
from lit_mlfund.sweeps.stacked.member_losses import member_losses

MEMBERS, ROWS = 5, 32
CLASSES = tuple("abcdefg")
Build = Callable[[DataSpec], nn.Module]

SMOOTH = CrossEntropyLoss(label_smoothing=0.1, class_weight=[1, 2, 1, 1, 1, 1, 0.5])
CASES: dict[str, tuple[str, PointwiseLoss, Build]] = {
    "bce mlp": ("binary", BinaryCrossEntropyLoss(), MLP),
    "bce linear": ("binary", BinaryCrossEntropyLoss(pos_weight=2.0), Linear),
    "hinge": ("binary", HingeLoss(), lambda spec: MLP(spec, hidden=(), dropout=0.5)),
    "focal": ("binary", FocalLoss(), lambda spec: MLP(spec, hidden=(24,), activation="silu")),
    "classes": ("multiclass", SMOOTH, lambda spec: MLP(spec, hidden=(30, 20), norm="layer", dropout=0.4)),
    "classes linear": ("multiclass", CrossEntropyLoss(), Linear),
    "mse": ("regression", MSELoss(), lambda spec: MLP(spec, activation="gelu")),
    "mae": ("regression", MAELoss(), lambda spec: MLP(spec, activation="tanh")),
    "huber": ("regression", HuberLoss(), Linear),
    "quantile": ("regression", QuantileLoss(0.9), MLP),
    "poisson": ("regression", PoissonLoss(), MLP),
}


def spec_of(task: str) -> DataSpec:
    inputs = {
        "numeric": Field("numeric", (11,)),
        "categorical": Field("categorical", (2,), cardinalities=(4, 9)),
    }
    return DataSpec(task=task, inputs=inputs, classes=CLASSES if task == "multiclass" else None)


def batch(task: str, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    size = (MEMBERS, ROWS)
    codes = [torch.randint(0, high, size, generator=generator) for high in (4, 9)]
    x = {"numeric": torch.randn(*size, 11, generator=generator), "categorical": torch.stack(codes, -1)}
    if task == "regression":
        return x, torch.randn(size, generator=generator).abs()
    y = torch.randint(0, 2 if task == "binary" else len(CLASSES), size, generator=generator)
    return x, y.float() if task == "binary" else y


@pytest.mark.parametrize("case", CASES)
def test_every_member_has_the_bits_that_it_has_alone(case: str) -> None:
    task, loss, build = CASES[case]
    models, states, generators = [], [], []
    for seed in range(MEMBERS):
        torch.manual_seed(seed)
        model = build(spec_of(task)).train()
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        models.append(model)
        states.append(torch.get_rng_state())
        generators.append(torch.Generator())
        generators[-1].set_state(states[-1])
    stacked = stack(models, generators).train()
    unreduced = copy.deepcopy(loss)
    unreduced.reduction = "none"
    draw = torch.Generator().manual_seed(9)
    for _ in range(2):  # the second step draws different dropout masks
        x, y = batch(task, draw)
        stacked.zero_grad()
        losses = member_losses(unreduced, MEMBERS, stacked(x).flatten(0, 1), y.flatten())
        losses.sum().backward()
        parameters = dict(stacked.named_parameters())
        for index, model in enumerate(models):
            torch.set_rng_state(states[index])
            model.zero_grad()
            alone = loss(model({name: value[index] for name, value in x.items()}), y[index])
            alone.backward()
            states[index] = torch.get_rng_state()
            assert torch.equal(losses[index], alone)
            assert list(parameters) == [name for name, _ in model.named_parameters()]
            for name, parameter in model.named_parameters():
                gradient = parameters[name].grad
                assert gradient is not None and parameter.grad is not None
                assert torch.equal(gradient[index].view_as(parameter), parameter.grad), (index, name)


def test_evaluation_drops_nothing() -> None:
    models = [MLP(spec_of("binary"), dropout=0.5).eval() for _ in range(MEMBERS)]
    stacked = stack(models, [torch.Generator() for _ in models]).eval()
    x, _ = batch("binary", torch.Generator().manual_seed(0))
    for index, model in enumerate(models):
        assert torch.equal(stacked(x)[index], model({name: value[index] for name, value in x.items()}))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda spec: MLP(spec, code_dropout=0.1), "code_dropout"),
        (lambda spec: MLP(spec, numeric_embedding="periodic"), "PeriodicEmbedding has no stacked form"),
        (lambda spec: nn.Sequential(nn.BatchNorm1d(3)), "BatchNorm1d has no stacked form"),
    ],
    ids=["code_dropout", "periodic", "batch norm"],
)
def test_what_cannot_be_stacked_is_named(model: Build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stack([model(spec_of("binary")) for _ in range(2)], [])
