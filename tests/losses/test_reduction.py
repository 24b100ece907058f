"""`reduction="none"`: one value per example, from which the mean follows."""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.nn.functional as F
from pointwise_cases import LOSSES, MULTICLASS, batch, build

from lit_mlfund import losses

every_loss = pytest.mark.parametrize("name", LOSSES)


def class_weights(name, target):
    weights = LOSSES[name][2].get("class_weight")
    return torch.ones(len(target)) if weights is None else torch.tensor(weights)[target]


@every_loss
def test_the_mean_follows_from_the_values(name):
    _, module, options = LOSSES[name]
    output, target = batch(name)
    weight = torch.rand(23)
    weight[4] = 0
    for given in (None, weight):
        values = module(**options, reduction="none")(output, target, weight=given)
        mean = module(**options)(output, target, weight=given)
        total = (class_weights(name, target) * (1 if given is None else given)).double().sum()
        assert values.shape == (23,) and mean.ndim == 0
        torch.testing.assert_close(values.sum() / total, mean)
        if given is None and "class_weight" not in options:
            assert torch.equal(values.mean(), mean)


@every_loss
def test_a_value_is_the_loss_of_its_example_times_its_weight(name):
    output, target = batch(name)
    weight = torch.rand(23)
    values = build(name)(output, target, weight, reduction="none")
    factor = weight * class_weights(name, target)
    alone = [build(name)(output[[row]], target[[row]]) for row in range(23)]
    torch.testing.assert_close(values, torch.stack(alone) * factor)


@every_loss
def test_a_module_is_its_function_and_an_attribute_may_change(name):
    _, module, options = LOSSES[name]
    output, target = batch(name)
    loss = module(**options)
    mean = loss(output, target)
    loss.reduction = "none"
    assert torch.equal(loss(output, target), build(name)(output, target, reduction="none"))
    loss.reduction = "mean"
    assert torch.equal(loss(output, target), mean)


@every_loss
def test_each_example_has_its_own_gradient(name):
    output, target = batch(name)
    build(name)(output.requires_grad_(), target, reduction="none")[7].backward()
    others = torch.arange(23) != 7
    assert not output.grad[others].any()


@every_loss
def test_an_empty_batch_has_no_values(name):
    output, target = batch(name)
    for weight in (None, torch.ones(0)):
        assert build(name)(output[:0], target[:0], weight, reduction="none").shape == (0,)


@every_loss
def test_half_precision_gives_values_in_float32(name):
    output, target = batch(name)
    values = build(name)(output.bfloat16(), target, torch.ones(23).bfloat16(), reduction="none")
    assert values.dtype == torch.float32


@every_loss
def test_an_unknown_reduction_and_a_bad_weight_are_refused(name):
    output, target = batch(name)
    with pytest.raises(ValueError, match=r"^reduction: expected mean or none, got 'sum'$"):
        build(name)(output, target, reduction="sum")
    with pytest.raises(ValueError, match=r"weight: expected shape \[23\], one per example, got \[23, 1\]"):
        build(name)(output, target, torch.ones(23, 1), reduction="none")


@pytest.mark.parametrize(
    "name", [name for name in LOSSES if "cross_entropy" in name or name.startswith("bce")]
)
def test_values_are_those_of_torch(name):
    output, target = batch(name)
    options = LOSSES[name][2]
    smoothing = options.get("label_smoothing", 0.0)
    if name in MULTICLASS:
        probabilities = torch.full_like(output, smoothing / 3)
        probabilities[torch.arange(23), target] = 1 - smoothing
        want = F.cross_entropy(output, probabilities, reduction="none") * class_weights(name, target)
    else:
        target = target.double()
        factor = torch.tensor(options.get("pos_weight", 1.0))
        smooth = target * (1 - smoothing) + (1 - target) * smoothing
        want = F.binary_cross_entropy_with_logits(output, smooth, pos_weight=factor, reduction="none")
    torch.testing.assert_close(build(name)(output, target, reduction="none"), want)


@pytest.mark.parametrize("num_samples", [3, 99])
@pytest.mark.parametrize("training", [True, False])
def test_sampled_softmax(num_samples, training):
    logits, target, weight = torch.randn(6, 20), torch.arange(6), torch.rand(6)
    for given in (None, weight):
        values, mean = (
            _seeded(losses.SampledSoftmaxLoss(num_samples, reduction=reduction).train(training))(
                logits, target, given
            )
            for reduction in ("none", "mean")
        )
        assert values.shape == (6,)
        torch.testing.assert_close(values.sum() / (6 if given is None else given.sum()), mean)


def _seeded(loss):
    def call(*args):
        torch.manual_seed(0)
        return loss(*args)

    return call


def test_losses_of_lists_and_pairs_offer_no_reduction():
    """Their values belong to queries or to a whole batch; Python refuses the argument."""
    offering = {
        name for name in losses.__all__ if "reduction" in inspect.signature(getattr(losses, name)).parameters
    }
    pointwise = {part.__name__ for case in LOSSES.values() for part in case[:2]}
    assert offering == pointwise | {"SampledSoftmaxLoss", "sampled_softmax_loss", "sampled_softmax"}
    with pytest.raises(TypeError, match="reduction"):
        losses.ListNetLoss(reduction="none")
