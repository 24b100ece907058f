import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from pointwise_cases import BINARY, LOSSES, MULTICLASS, REGRESSION, batch, build
from scipy import special, stats
from sklearn import metrics

from lit_mlfund import losses

every_loss = pytest.mark.parametrize("name", LOSSES)


def test_regression_against_scikit_learn_and_scipy():
    prediction, target = batch("mse")
    weight = torch.rand(23, dtype=torch.float64)
    y, p, w = (t.numpy() for t in (target, prediction, weight))
    rates, counts = prediction.exp().numpy(), target.abs().round().numpy()
    nll = special.gammaln(counts + 1) + stats.poisson.logpmf(counts, rates)
    for sample_weight, given in ((None, None), (w, weight)):
        ask = partial(dict, sample_weight=sample_weight)
        mean = partial(_mean, weight=sample_weight)
        for loss, want in (
            (losses.mse_loss(prediction, target, given), metrics.mean_squared_error(y, p, **ask())),
            (losses.mae_loss(prediction, target, given), metrics.mean_absolute_error(y, p, **ask())),
            (losses.huber_loss(prediction, target, given, delta=0.7), mean(special.huber(0.7, y - p))),
            (
                losses.quantile_loss(prediction, target, given, quantile=0.8),
                metrics.mean_pinball_loss(y, p, alpha=0.8, **ask()),
            ),
            (losses.poisson_loss(prediction, target.abs().round(), given), mean(-nll)),
        ):
            assert loss.item() == pytest.approx(want, rel=1e-12)


def _mean(values, weight):
    return values.mean() if weight is None else (values * weight).sum() / weight.sum()


def test_binary_against_scikit_learn():
    logits, target = batch("bce")
    y, p = target.numpy(), logits.sigmoid().numpy()
    weight = torch.rand(23, dtype=torch.float64)
    w = weight.numpy()
    log_loss = losses.binary_cross_entropy_loss(logits, target, weight)
    assert log_loss.item() == pytest.approx(metrics.log_loss(y, p, sample_weight=w), rel=1e-12)
    hinge = losses.hinge_loss(logits, target, weight)
    assert hinge.item() == pytest.approx(metrics.hinge_loss(2 * y - 1, logits.numpy(), sample_weight=w))


def test_multiclass_against_scikit_learn():
    logits, target = batch("cross_entropy")
    weight = torch.rand(23, dtype=torch.float64)
    y, w = target.numpy(), weight.numpy()
    log_loss = losses.cross_entropy_loss(logits, target, weight)
    assert log_loss.item() == pytest.approx(metrics.log_loss(y, logits.softmax(1).numpy(), sample_weight=w))
    hinge = losses.hinge_loss(logits, target, weight)
    assert hinge.item() == pytest.approx(metrics.hinge_loss(y, logits.numpy(), sample_weight=w))


def test_class_and_positive_weights_are_torchs():
    logits, target = batch("cross_entropy")
    class_weight = torch.tensor([0.5, 1.0, 2.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(
        losses.cross_entropy_loss(logits, target, class_weight=class_weight),
        F.cross_entropy(logits, target, weight=class_weight),
    )
    logits, target = batch("bce")
    torch.testing.assert_close(
        losses.binary_cross_entropy_loss(logits, target, pos_weight=3.0),
        F.binary_cross_entropy_with_logits(logits, target.double(), pos_weight=torch.tensor(3.0)),
    )


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.9])
def test_label_smoothing_spreads_epsilon_over_the_other_classes(epsilon):
    logits, target = batch("cross_entropy")
    smooth = torch.full_like(logits, epsilon / 3)
    smooth[torch.arange(23), target] = 1 - epsilon
    want = -(smooth * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(losses.cross_entropy_loss(logits, target, label_smoothing=epsilon), want)
    # Two classes: the same as one logit, the difference of both.
    logits, target = batch("bce")
    torch.testing.assert_close(
        losses.binary_cross_entropy_loss(logits, target, label_smoothing=epsilon),
        losses.cross_entropy_loss(
            torch.stack([torch.zeros_like(logits), logits], 1), target, label_smoothing=epsilon
        ),
    )


def test_a_probability_is_a_legal_binary_target():
    logits, _ = batch("bce")
    target = torch.linspace(0, 1, 23, dtype=torch.float64)
    p = logits.sigmoid()
    want = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    torch.testing.assert_close(losses.binary_cross_entropy_loss(logits, target), want)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_its_formula(gamma):
    logits, target = batch("binary focal")
    p = torch.where(target == 1, logits.sigmoid(), 1 - logits.sigmoid())
    alpha = torch.where(target == 1, 0.25, 0.75)
    want = -(alpha * (1 - p) ** gamma * p.log()).mean()
    torch.testing.assert_close(losses.focal_loss(logits, target, gamma=gamma, alpha=0.25), want)
    logits, target = batch("focal")
    p = logits.softmax(1)[torch.arange(23), target]
    want = -((1 - p) ** gamma * p.log()).mean()
    torch.testing.assert_close(losses.focal_loss(logits, target, gamma=gamma), want)


def test_focal_without_focus_is_cross_entropy():
    logits, target = batch("focal")
    class_weight = torch.tensor([0.5, 1.0, 2.0, 1.0])
    weight = torch.rand(23)
    torch.testing.assert_close(
        losses.focal_loss(logits, target, weight, gamma=0.0, class_weight=class_weight),
        losses.cross_entropy_loss(logits, target, weight, class_weight=class_weight),
    )


@every_loss
def test_gradcheck(name):
    output, target = batch(name)
    loss, weight = build(name), torch.rand(23, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda o: loss(o, target, weight), output.requires_grad_())


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_any_logit_has_a_finite_loss_and_gradient(name, dtype):
    output, target = batch(name)
    for extreme in (1e4, -1e4, 0.0, None):
        logits = (1e4 * output.sign() if extreme is None else torch.full_like(output, extreme)).to(dtype)
        if logits.ndim == 2 and extreme is not None:
            logits[:, 0] *= -1
        logits.requires_grad_()
        loss = build(name)(logits, target)
        loss.backward()
        assert loss.isfinite() and loss.dtype == torch.float32
        assert logits.grad.isfinite().all() and logits.grad.dtype == dtype


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name, dtype):
    output, target = batch(name)
    output, loss = output.to(dtype), build(name)
    assert torch.equal(loss(output, target), loss(output.float(), target))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(output.float(), target), loss(output, target))


@every_loss
def test_extreme_single_precision_is_close_to_double(name):
    output, target = batch(name)
    output = 1e4 * output.sign() + output.round()
    if name == "poisson":
        output = output.clamp(max=30)
    torch.testing.assert_close(build(name)(output.float(), target), build(name)(output, target).float())


def test_poisson_goes_on_as_a_line_where_exp_would_overflow():
    log_rate = torch.tensor([40.0, 50.0, 1e4], dtype=torch.float64, requires_grad=True)
    loss = losses.poisson_loss(log_rate, torch.zeros(3))
    loss.backward()
    assert loss.item() == pytest.approx(math.exp(40) * (1 + 11 + 1e4 - 39) / 3)
    assert log_rate.grad.tolist() == pytest.approx([math.exp(40) / 3] * 3)


@every_loss
def test_an_empty_batch_is_zero_with_gradient(name):
    output, target = batch(name)
    output = output[:0].clone().requires_grad_()
    for weight in (None, torch.ones(0)):
        loss = build(name)(output, target[:0], weight)
        loss.backward()
        assert loss.item() == 0 and output.grad.shape == output.shape
    output = batch(name)[0].requires_grad_()
    loss = build(name)(output, target, torch.zeros(23))
    loss.backward()
    assert loss.item() == 0 and not output.grad.any()


@every_loss
def test_a_weight_is_a_repetition(name):
    output, target = batch(name)
    weight = torch.arange(23) % 4
    repeated = (t.repeat_interleave(weight, dim=0) for t in (output, target))
    torch.testing.assert_close(build(name)(output, target, weight), build(name)(*repeated))


@every_loss
def test_module_is_its_function(name):
    _, module, options = LOSSES[name]
    output, target = batch(name)
    weight = torch.rand(23)
    loss = module(**options)
    assert loss(output, target, weight=weight) == build(name)(output, target, weight)
    assert loss.state_dict() == {}
    for key, value in options.items():
        assert f"{key}={torch.tensor(value) if isinstance(value, list) else value}" in repr(loss)
    groups = {"regression": REGRESSION, "binary": BINARY, "multiclass": MULTICLASS}
    assert set(loss.tasks) >= {task for task, group in groups.items() if name in group}
