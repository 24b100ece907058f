import math

import pytest
import torch
from pointwise_cases import BINARY, LOSSES, MULTICLASS, batch, build

from lit_mlfund import losses

every_loss = pytest.mark.parametrize("name", LOSSES)


BAD_SHAPES = {
    "column": (lambda o, y: (o[:, None], y), r"(prediction|logits|alpha): .*got (shape )?\[23, 1\]"),
    "too few targets": (lambda o, y: (o, y[1:]), r"target: expected shape \[23\].*, got \[22\]"),
    "target column": (lambda o, y: (o, y[:, None]), r"target: expected shape \[23\].*, got \[23, 1\]"),
    "integer output": (
        lambda o, y: (o.long(), y),
        "expected a floating dtype, got torch.int64",
    ),
    "complex target": (lambda o, y: (o, y.to(torch.complex64)), "target: .*got torch.complex64"),
    "weight shape": (
        lambda o, y: (o, y, torch.ones(23, 1)),
        r"weight: expected shape \[23\], one per example, got \[23, 1\]",
    ),
    "weight below zero": (
        lambda o, y: (o, y, -torch.ones(23)),
        r"weight: expected values of at least 0.*got -1",
    ),
    "weight nan": (lambda o, y: (o, y, torch.full((23,), math.nan)), "weight: .*got nan"),
}


@every_loss
@pytest.mark.parametrize("case", BAD_SHAPES)
def test_bad_tensors(name, case):
    if case == "column" and name in MULTICLASS:
        pytest.skip("[B, 1, K] is covered by the target's shape")
    spoil, message = BAD_SHAPES[case]
    with pytest.raises(ValueError, match=message):
        build(name)(*spoil(*batch(name)))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("value", [-1, 2])
def test_bad_binary_target(name, value):
    output, target = batch(name)
    target[4] = value
    with pytest.raises(ValueError, match=rf"target: expected values in \[0, 1\], got {value}"):
        build(name)(output, target)
    with pytest.raises(ValueError, match=r"target: .*got nan"):
        build(name)(output, torch.full((23,), math.nan))


@pytest.mark.parametrize("name", MULTICLASS)
def test_bad_classes(name):
    output, target = batch(name)
    for value in (-1, 4, -100):
        with pytest.raises(ValueError, match=rf"target: expected values in \[0, 3\], got {value}"):
            build(name)(output, torch.where(torch.arange(23) == 5, value, target))
    for dtype in (torch.float32, torch.bool):
        with pytest.raises(ValueError, match=f"target: expected integer classes, got {dtype}"):
            build(name)(output, target.to(dtype))
    with pytest.raises(ValueError, match=r"logits: expected at least 2 classes, got shape \[23, 1\]"):
        losses.hinge_loss(output[:, :1], target)


def test_bad_count():
    with pytest.raises(ValueError, match="target: expected values of at least 0 and finite, got -1"):
        losses.poisson_loss(torch.zeros(2), torch.tensor([3, -1]))


@pytest.mark.parametrize(
    ("module", "option", "values"),
    [
        (losses.BinaryCrossEntropyLoss, "pos_weight", (0, -1.0, math.inf)),
        (losses.BinaryCrossEntropyLoss, "label_smoothing", (-0.1, 1.0, math.nan)),
        (losses.CrossEntropyLoss, "label_smoothing", (-0.1, 1.0)),
        (losses.HingeLoss, "margin", (0, -1.0)),
        (losses.FocalLoss, "gamma", (-1.0, math.nan)),
        (losses.FocalLoss, "alpha", (0, 1, -0.5)),
        (losses.HuberLoss, "delta", (0, -1.0)),
        (losses.QuantileLoss, "quantile", (0, 1, 1.5)),
        *((module, "reduction", ("sum", None)) for _, module, _ in LOSSES.values()),
    ],
)
def test_bad_options(module, option, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{option}: expected .* got {value!r}$"):
            module(**{option: value})


def test_bad_class_weights():
    output, target = batch("focal")
    for function in (losses.cross_entropy_loss, losses.focal_loss):
        with pytest.raises(ValueError, match=r"class_weight: expected shape \[4\], one per class, got \[3\]"):
            function(output, target, class_weight=torch.ones(3))
    for module in (losses.CrossEntropyLoss, losses.FocalLoss):
        with pytest.raises(ValueError, match=r"class_weight: expected values of at least 0.*got -2"):
            module(class_weight=[1, -2])
    with pytest.raises(ValueError, match=r"class_weight: needs logits \[B, K\], got \[23\]"):
        losses.focal_loss(output[:, 0], target % 2, class_weight=torch.ones(4))
    with pytest.raises(ValueError, match=r"alpha: needs logits \[B\], got \[23, 4\]"):
        losses.focal_loss(output, target, alpha=0.5)
