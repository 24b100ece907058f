"""Values of every metric against scikit-learn, with ties and weights, and at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import tensor

from lit_mlfund.metrics import (
    average_precision,
    calibration_error,
    calibration_null,
    embedding_ranks,
    evaluate_binary,
    evaluate_multiclass,
    evaluate_ranking,
    evaluate_regression,
    evaluate_retrieval,
    mrr,
    ndcg,
    precision_at_k,
    recall_at_k,
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(num_rows: int, kind: str) -> torch.Tensor | None:
    if kind == "none":
        return None
    weight = torch.rand(num_rows, generator=generator(99), dtype=torch.float64) * 3
    weight[::7] = 0
    return weight


@pytest.mark.parametrize("weighting", ["none", "rows"])
@pytest.mark.parametrize("step", [0.0, 0.5, 3.0], ids=["distinct", "ties", "many ties"])
@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0], ids=["rare", "even", "common"])
def test_binary(weighting, step, shift):
    logits = torch.randn(500, generator=generator(0), dtype=torch.float64) + shift
    target = torch.bernoulli(torch.sigmoid(logits), generator=generator(1)).long()
    logits = logits if step == 0 else (logits / step).round() * step
    weight = weights(500, weighting)
    values = evaluate_binary(logits, target, weight).values()
    probability, w = torch.sigmoid(logits).numpy(), None if weight is None else weight.numpy()
    y, z = target.numpy(), logits.numpy()
    assert values == pytest.approx(
        {
            "auroc": sk.roc_auc_score(y, z, sample_weight=w),
            "average_precision": sk.average_precision_score(y, z, sample_weight=w),
            "log_loss": sk.log_loss(y, probability, sample_weight=w),
            "brier": sk.brier_score_loss(y, probability, sample_weight=w),
            "accuracy": sk.accuracy_score(y, z > 0, sample_weight=w),
            "ece": calibration_error(torch.sigmoid(logits), target, weight=weight).item(),
            "ece_null": calibration_null(torch.sigmoid(logits), weight=weight).item(),
        }
    )


@pytest.mark.parametrize("weighting", ["none", "rows"])
@pytest.mark.parametrize("num_classes", [2, 3, 8])
def test_multiclass(weighting, num_classes):
    logits = torch.randn(400, num_classes, generator=generator(2), dtype=torch.float64) * 2
    logits[:, -1] -= 4  # rare as a prediction
    target = torch.multinomial(logits.softmax(1) + 0.1, 1, generator=generator(3))[:, 0]
    weight = weights(400, weighting)
    values = evaluate_multiclass(logits, target, weight).values()
    w = None if weight is None else weight.numpy()
    y, predicted, probability = target.numpy(), logits.argmax(1).numpy(), logits.softmax(1)
    want = {
        "accuracy": sk.accuracy_score(y, predicted, sample_weight=w),
        "macro_f1": sk.f1_score(y, predicted, average="macro", sample_weight=w),
        "log_loss": sk.log_loss(y, probability.numpy(), labels=range(num_classes), sample_weight=w),
        "ece": calibration_error(probability, target, weight=weight).item(),
        "ece_null": calibration_null(probability, weight=weight).item(),
    }
    if num_classes > 5:
        want["top5_accuracy"] = sk.top_k_accuracy_score(
            y, logits.numpy(), k=5, labels=range(num_classes), sample_weight=w
        )
    assert values == pytest.approx(want)


def test_macro_f1_leaves_out_classes_that_do_not_occur():
    logits = torch.eye(6)[[0, 1, 1, 3]]
    target = tensor([0, 1, 0, 1])
    value = evaluate_multiclass(logits, target).values()["macro_f1"]
    assert value == pytest.approx(sk.f1_score(target, logits.argmax(1), average="macro"))


def test_top5_of_equal_logits_is_five_in_k():
    values = evaluate_multiclass(torch.zeros(20, 8), torch.arange(20) % 8).values()
    assert values["top5_accuracy"] == pytest.approx(5 / 8)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("num_rows", [100, 101])
def test_regression(offset, num_rows):
    target = torch.randn(num_rows, generator=generator(4), dtype=torch.float64) + offset
    prediction = target + torch.randn(num_rows, generator=generator(5), dtype=torch.float64) / 2
    y, p = target.numpy(), prediction.numpy()
    want = {
        "rmse": sk.root_mean_squared_error(y, p),
        "mae": sk.mean_absolute_error(y, p),
        "r2": sk.r2_score(y, p),
        "median_ae": sk.median_absolute_error(y, p),
    }
    assert evaluate_regression(prediction, target).values() == pytest.approx(want, rel=1e-8)
    weight = weights(num_rows, "rows")
    w = weight.numpy()
    values = evaluate_regression(prediction, target, weight).values()
    assert values["rmse"] == pytest.approx(sk.root_mean_squared_error(y, p, sample_weight=w))
    assert values["mae"] == pytest.approx(sk.mean_absolute_error(y, p, sample_weight=w))
    assert values["r2"] == pytest.approx(sk.r2_score(y, p, sample_weight=w), rel=1e-8)


def test_weights_of_whole_numbers_are_repeated_rows():
    prediction = torch.randn(60, generator=generator(6))
    target, weight = prediction.flip(0), torch.randint(0, 4, (60,), generator=generator(7))
    repeated = evaluate_regression(prediction.repeat_interleave(weight), target.repeat_interleave(weight))
    assert evaluate_regression(prediction, target, weight).values() == pytest.approx(repeated.values())


def test_ranking():
    scores = torch.randint(9, (30, 20), generator=generator(8)).float()
    relevance = torch.randint(3, (30, 20), generator=generator(9))
    mask = torch.arange(20) < torch.randint(1, 21, (30, 1), generator=generator(10))
    relevance[:4] = 0
    lists = (scores, relevance, mask)
    values = evaluate_ranking(*lists).values()
    want = {
        "ndcg@5": ndcg(*lists, k=5),
        "ndcg@10": ndcg(*lists, k=10),
        "mrr@10": mrr(*lists, k=10),
        "map": average_precision(*lists),
        "precision@10": precision_at_k(*lists, k=10),
        "recall@10": recall_at_k(*lists, k=10),
    }
    skipped = int(want["map"].isnan().sum())
    assert skipped >= 4
    assert values == pytest.approx(
        {name: value.nanmean().item() for name, value in want.items()} | {"skipped_queries": skipped},
        rel=1e-5,
    )


def test_retrieval():
    query, item = (torch.randn(n, 8, generator=generator(n)) for n in (40, 300))
    positives = torch.randint(300, (40, 3), generator=generator(11))
    positives[0] = -1
    ranks = embedding_ranks(query, item, positives)
    values = evaluate_retrieval(ranks).values()
    relevance = torch.zeros(40, 301).scatter_(1, positives % 301, 1)[:, :300]
    relevance[0] = 0
    scores = query @ item.T
    want = {f"recall@{k}": recall_at_k(scores, relevance, k=k) for k in (1, 10, 100)}
    want |= {"mrr@10": mrr(scores, relevance, k=10), "ndcg@10": ndcg(scores, relevance, k=10)}
    assert values == pytest.approx(
        {name: value.nanmean().item() for name, value in want.items()} | {"skipped_queries": 1}, rel=1e-5
    )


def test_one_class_only():
    logits = torch.randn(20, generator=generator(12))
    nothing = evaluate_binary(logits, torch.zeros(20)).values()
    assert math.isnan(nothing["auroc"]) and math.isnan(nothing["average_precision"])
    assert all(
        math.isfinite(value) for name, value in nothing.items() if name not in ("auroc", "average_precision")
    )
    everything = evaluate_binary(logits, torch.ones(20)).values()
    assert math.isnan(everything["auroc"]) and everything["average_precision"] == 1
    weightless = evaluate_binary(tensor([1.0, 0.0]), tensor([1, 0]), tensor([0.0, 1.0])).values()
    assert math.isnan(weightless["auroc"])


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1e8])
def test_constant_target_has_no_r2(constant):
    prediction = torch.randn(33, generator=generator(13))
    values = evaluate_regression(prediction, torch.full((33,), constant)).values()
    assert math.isnan(values["r2"]) and math.isfinite(values["rmse"])


def test_nothing_relevant_anywhere():
    values = evaluate_ranking(torch.rand(5, 4), torch.zeros(5, 4)).values()
    assert values.pop("skipped_queries") == 5
    assert all(math.isnan(value) for value in values.values())


def test_extreme_and_half_precision_predictions():
    logits, target = tensor([1e4, -1e4, 1e4, -1e4]), tensor([1.0, 0.0, 0.0, 1.0])
    values = evaluate_binary(logits, target).values()
    assert values["log_loss"] == pytest.approx(5000) and values["auroc"] == 0.5
    table = torch.stack([logits, -logits], 1)
    assert evaluate_multiclass(table, target.long()).values()["log_loss"] == pytest.approx(10_000)
    for dtype in (torch.bfloat16, torch.float16):
        assert evaluate_binary(logits.to(dtype), target).values()["auroc"] == 0.5
        assert evaluate_regression(target.to(dtype), target).values()["rmse"] == 0


def test_predictions_that_carry_gradients():
    logits = torch.randn(10, requires_grad=True)
    assert math.isfinite(evaluate_binary(logits, torch.arange(10) % 2).values()["auroc"])


BAD = torch.tensor([0.0, torch.nan, torch.inf, 1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluate_binary(BAD, torch.zeros(4)), "logits must be finite: 2 of 4 are not"),
        (lambda: evaluate_binary(torch.rand(4), tensor([0, 1, 2, 1])), "target must be 0 or 1: 1 of 4.*as 2"),
        (
            lambda: evaluate_binary(torch.rand(4), tensor([0, 1, math.nan, 1])),
            "target must be 0 or 1: 1 of 4",
        ),
        (lambda: evaluate_binary(torch.rand(4, 1), torch.zeros(4)), r"logits must be \[B\].*got \(4, 1\)"),
        (lambda: evaluate_binary(torch.rand(0), torch.zeros(0)), "B > 0"),
        (lambda: evaluate_binary(torch.rand(4), torch.zeros(3)), r"target must be \[B\] = \[4\], got \(3,\)"),
        (lambda: evaluate_binary(torch.rand(4), torch.ones(4), torch.ones(3)), r"weight must be \[B\]"),
        (lambda: evaluate_binary(torch.rand(2), torch.ones(2), tensor([1.0, -1])), "weight must be finite"),
        (lambda: evaluate_binary(torch.rand(2), torch.ones(2), torch.zeros(2)), "weight must be above 0"),
        (lambda: evaluate_multiclass(BAD.view(2, 2), tensor([0, 1])), "logits must be finite: 2 of 4"),
        (lambda: evaluate_multiclass(torch.rand(2, 3), tensor([0, 3])), "target must be 0 … 2: 1 of 2.*as 3"),
        (
            lambda: evaluate_multiclass(torch.rand(2, 3), tensor([0.0, 1.0])),
            "class numbers, got torch.float32",
        ),
        (lambda: evaluate_multiclass(torch.rand(2), tensor([0, 1])), r"logits must be \[B, K\]"),
        (lambda: evaluate_regression(BAD, torch.zeros(4)), "prediction must be finite: 2 of 4"),
        (lambda: evaluate_regression(torch.zeros(4), BAD), "target must be finite: 2 of 4"),
        (lambda: evaluate_ranking(BAD[None], torch.ones(1, 4)), "scores: 2 of 4 are not finite"),
        (lambda: evaluate_ranking(torch.zeros(0, 4), torch.zeros(0, 4)), "no queries"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_order_of_rows_changes_nothing():
    logits = torch.randint(5, (50,), generator=generator(14)).float()
    target = torch.randint(2, (50,), generator=generator(15))
    order = torch.randperm(50, generator=generator(16))
    assert evaluate_binary(logits, target).values() == pytest.approx(
        evaluate_binary(logits[order], target[order]).values()
    )
    assert np.isfinite(list(evaluate_binary(logits, target).values().values())).all()
