import math

import pytest
import torch
import torch.nn.functional as F

from lit_mlfund.losses.sampled_softmax import (
    SampledSoftmaxLoss,
    sample_classes,
    sampled_softmax,
    sampled_softmax_loss,
)


def make_batch(batch=6, classes=20, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, classes, generator=generator, dtype=dtype) * 2
    return (
        logits,
        torch.randint(classes, (batch,), generator=generator),
        torch.rand(batch, generator=generator),
    )


def test_equals_a_loop_over_the_sample():
    logits, target, weight = make_batch()
    sample, log_count = sample_classes(20, 30, "log_uniform")
    total = 0.0
    for scores, own, share in zip(logits.tolist(), target.tolist(), weight.tolist()):
        others = sum(
            math.exp(scores[c] - log) for c, log in zip(sample.tolist(), log_count.tolist()) if c != own
        )
        total += share * -math.log(math.exp(scores[own]) / (math.exp(scores[own]) + others))
    found = sampled_softmax(logits[range(6), target], logits[:, sample], target, sample, log_count, weight)
    torch.testing.assert_close(found.item(), total / weight.sum().item(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("distribution", ["uniform", "log_uniform"])
def test_many_draws_give_the_softmax_and_its_gradient(distribution):
    torch.manual_seed(0)
    logits, target, weight = make_batch(classes=200)
    logits.requires_grad_()
    expected = (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()
    (exact,) = torch.autograd.grad(expected, logits)
    sample, log_count = sample_classes(200, 200_000, distribution)
    own = logits.gather(1, target[:, None]).squeeze(1)
    loss = sampled_softmax(own, logits.index_select(1, sample), target, sample, log_count, weight)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, expected, rtol=0.01, atol=0)
    assert (gradient - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("distribution", ["uniform", "log_uniform"])
def test_log_count_is_that_of_the_draws(distribution):
    torch.manual_seed(0)
    sample, log_count = sample_classes(7, 200_000, distribution)
    drawn = torch.bincount(sample, minlength=7).double()
    expected = torch.zeros(7).scatter_(0, sample, log_count.exp()).double()
    torch.testing.assert_close(expected.sum().item(), 200_000.0, rtol=1e-6, atol=0)
    assert ((drawn - expected).abs() < 5 * expected.sqrt()).all()


def test_eval_mode_and_few_classes_are_plain_cross_entropy():
    logits, target, weight = make_batch()
    expected = (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()
    loss = SampledSoftmaxLoss(num_samples=5)
    assert loss(logits, target, weight) != expected
    torch.testing.assert_close(loss.eval()(logits, target, weight), expected)
    torch.testing.assert_close(SampledSoftmaxLoss(num_samples=20)(logits, target, weight), expected)


def test_a_sample_of_the_target_alone_gives_zero():
    logits = torch.randn(1, 3, requires_grad=True)
    target, sample = torch.tensor([1]), torch.tensor([1, 1])
    loss = sampled_softmax(logits[:, 1], logits[:, sample], target, sample, torch.zeros(2))
    loss.backward()
    assert loss == 0 and torch.equal(logits.grad, torch.zeros(1, 3))


def test_gradcheck():
    logits, target, weight = make_batch(batch=3, classes=9)

    def loss(logits):
        torch.manual_seed(0)
        return sampled_softmax_loss(logits, target, weight, num_samples=4)

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_finite_for_extreme_logits(dtype):
    logits = torch.tensor([[1e4, -1e4, 0.0, 1e4], [-1e4, 1e4, 1e4, 0.0]], dtype=dtype).requires_grad_()
    loss = sampled_softmax_loss(logits, torch.tensor([1, 0]), num_samples=3)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite() and logits.grad.isfinite().all()


def test_empty_batch_gives_zero():
    logits = torch.zeros(0, 200, requires_grad=True)
    loss = sampled_softmax_loss(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0


def test_bad_input():
    logits, target, _ = make_batch()
    for options, message in (
        ({"num_samples": 0}, "num_samples: .* got 0"),
        ({"num_samples": 2.5}, "num_samples: .* got 2.5"),
        ({"distribution": "zipf"}, "distribution: .* got 'zipf'"),
    ):
        with pytest.raises(ValueError, match=message):
            SampledSoftmaxLoss(**options)
    with pytest.raises(ValueError, match=r"logits: .* got \[6\]"):
        sampled_softmax_loss(logits[:, 0], target)
    with pytest.raises(ValueError, match=r"target: .* \[0, 19\]"):
        sampled_softmax_loss(logits, target + 19)
    with pytest.raises(ValueError, match=r"sampled_logits: expected shape \[6, 2\], got \[6, 3\]"):
        sampled_softmax(logits[:, 0], logits[:, :3], target, target[:2], torch.zeros(2))
