import pytest
import torch

from lit_mlfund.losses import (
    CompositeLoss,
    CrossEntropyLoss,
    FocalLoss,
    HingeLoss,
    HuberLoss,
    InfoNCELoss,
    LambdaRankLoss,
    ListNetLoss,
    MSELoss,
    PoissonLoss,
)


def part(loss, weight=1.0):
    return {"loss": loss, "weight": weight}


def test_sum_of_weighted_parts():
    huber, mse = HuberLoss(delta=0.5), MSELoss()
    loss = CompositeLoss({"huber": part(huber, 2), "mse": part(mse, 0.25)})
    prediction, target, weight = torch.randn(7, requires_grad=True), torch.randn(7), torch.rand(7)
    assert loss.parts == {}
    value = loss(prediction, target, weight=weight)
    (grad,) = torch.autograd.grad(value, prediction)
    want = 2 * huber(prediction, target, weight) + 0.25 * mse(prediction, target, weight)
    (want_grad,) = torch.autograd.grad(want, prediction)
    torch.testing.assert_close(value, want)
    torch.testing.assert_close(grad, want_grad)
    assert set(loss.parts) == {"huber", "mse"}
    assert loss.parts["mse"] == mse(prediction, target, weight) and not loss.parts["mse"].requires_grad


def test_parts_of_a_ranking_loss_see_the_mask():
    loss = CompositeLoss({"lambdarank": part(LambdaRankLoss()), "listnet": part(ListNetLoss())})
    scores, relevance = torch.randn(2, 5), torch.randint(0, 3, (2, 5))
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    want = LambdaRankLoss()(scores, relevance, mask) + ListNetLoss()(scores, relevance, mask)
    torch.testing.assert_close(loss(scores, relevance, mask=mask), want)


def test_tasks_are_common_to_all_parts():
    assert CompositeLoss({"a": part(HingeLoss()), "b": part(FocalLoss())}).tasks == ("binary", "multiclass")
    assert CompositeLoss({"a": part(HingeLoss()), "b": part(CrossEntropyLoss())}).tasks == ("multiclass",)


def test_parameters_of_parts_are_trained():
    loss = CompositeLoss({"a": part(InfoNCELoss(learnable_temperature=True))})
    assert len(list(loss.parameters())) == 1


def test_link_is_that_of_the_parts():
    assert CompositeLoss({"a": part(PoissonLoss())}).link == "log"
    assert CompositeLoss({"a": part(MSELoss())}).link == "identity"
    with pytest.raises(ValueError, match=r"parts: expected the same link in all, got .*'b': 'log'"):
        CompositeLoss({"a": part(MSELoss()), "b": part(PoissonLoss())})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "parts: expected at least one"),
        ({"a": {"loss": MSELoss()}}, r"parts.a: expected the keys loss and weight, got \['loss'\]"),
        ({"a": MSELoss()}, "parts.a: expected the keys loss and weight, got MSELoss"),
        ({"a": part("mse")}, "parts.a.loss: expected a loss module with `tasks`, got 'mse'"),
        ({"a": part(torch.nn.MSELoss())}, "parts.a.loss: expected a loss module with `tasks`, got MSELoss"),
        (
            {"a": part(MSELoss(reduction="none"))},
            "parts.a.loss: expected reduction='mean', got 'none': the sum is of means",
        ),
        ({"a": part(MSELoss(), -1)}, "parts.a.weight: expected a number of at least 0, got -1"),
        ({"a": part(MSELoss(), None)}, "parts.a.weight: .*, got None"),
        ({"a": part(MSELoss(), float("nan"))}, "parts.a.weight: .*, got nan"),
        (
            {"a": part(CrossEntropyLoss()), "b": part(ListNetLoss())},
            r"parts: expected a task that all of them can train, got .'a': .'multiclass',., 'b': .'ranking'",
        ),
    ],
)
def test_bad_parts(parts, message):
    with pytest.raises(ValueError, match=message):
        CompositeLoss(parts)
