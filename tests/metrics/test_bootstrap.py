"""Intervals against resampling by hand and against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_mlfund.metrics import (
    Interval,
    bootstrap,
    embedding_ranks,
    evaluate_binary,
    evaluate_multiclass,
    evaluate_ranking,
    evaluate_regression,
    evaluate_retrieval,
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(evaluate, rows: tuple[Tensor, ...], num_resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Every metric of tables of resampled rows, one table after another."""
    draws = np.random.default_rng(seed)
    size = len(rows[0])
    tables = [torch.from_numpy(draws.integers(0, size, size)) for _ in range(num_resamples)]
    values = [evaluate(*(column[table] for column in rows)).values() for table in tables]
    return {name: np.array([value[name] for value in values]) for name in values[0]}


def binary(num_rows: int = 60, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    logits = torch.randn(num_rows, generator=generator(seed)) * 1.5
    target = torch.bernoulli(torch.sigmoid(logits), generator=generator(seed + 1))
    return (logits * 4).round() / 4, target, torch.rand(num_rows, generator=generator(seed + 2))


def multiclass() -> tuple[Tensor, Tensor, Tensor]:
    logits = torch.randn(50, 7, generator=generator(3))
    return logits, torch.randint(7, (50,), generator=generator(4)), torch.rand(50, generator=generator(5))


def regression() -> tuple[Tensor, Tensor, Tensor]:
    prediction = torch.randn(41, generator=generator(6))
    return prediction, prediction.flip(0) + 3, torch.rand(41, generator=generator(7))


def ranking() -> tuple[Tensor, Tensor]:
    relevance = torch.randint(3, (25, 8), generator=generator(8))
    relevance[:5] = 0
    return torch.randint(5, (25, 8), generator=generator(9)).float(), relevance


@pytest.mark.parametrize(
    ("evaluate", "rows"),
    [
        (evaluate_binary, binary()),
        (evaluate_binary, binary()[:2]),
        (evaluate_multiclass, multiclass()),
        (evaluate_multiclass, multiclass()[:2]),
        (evaluate_regression, regression()),
        (evaluate_ranking, ranking()),
    ],
)
def test_resamples_are_those_of_the_rows(evaluate, rows, monkeypatch):
    monkeypatch.setattr(bootstrap, "_BLOCK", 7 * len(rows[0]))  # 7 resamples at a time, 30 in all
    drawn = evaluate(*rows).resamples(30, seed=11)
    want = by_hand(evaluate, rows, 30, seed=11)
    for name in drawn.keys() - {"ece"}:
        np.testing.assert_allclose(drawn[name], want[name], rtol=1e-6, err_msg=name)
    if "ece" in drawn:  # shifted to the value, and not below 0
        value = evaluate(*rows).values()["ece"]
        np.testing.assert_allclose(
            drawn["ece"], np.maximum(want["ece"] - want["ece"].mean() + value, 0), rtol=1e-6
        )


def test_resampled_queries_of_retrieval():
    query, item = torch.randn(30, 4, generator=generator(10)), torch.randn(90, 4, generator=generator(11))
    positives = torch.randint(90, (30, 2), generator=generator(12))
    drawn = evaluate_retrieval(embedding_ranks(query, item, positives)).resamples(20, seed=3)
    want = by_hand(
        lambda q, p: evaluate_retrieval(embedding_ranks(q, item, p)), (query, positives), 20, seed=3
    )
    for name, value in drawn.items():
        np.testing.assert_allclose(value, want[name], err_msg=name)


def test_interval_of_a_mean_is_the_normal_one():
    logits, target, _ = binary(2000, seed=20)
    accuracy = evaluate_binary(logits, target).intervals(4000, level=0.9)["accuracy"]
    half = 1.6449 * math.sqrt(accuracy.value * (1 - accuracy.value) / 2000)
    assert accuracy.low == pytest.approx(accuracy.value - half, abs=0.1 * half)
    assert accuracy.high == pytest.approx(accuracy.value + half, abs=0.1 * half)


def test_spread_of_auroc_is_delongs():
    logits, target, _ = binary(1500, seed=30)
    positive, negative = logits[target == 1, None].numpy(), logits[target == 0].numpy()
    wins = (positive > negative) + 0.5 * (positive == negative)
    variance = wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative)
    drawn = evaluate_binary(logits, target).resamples(2000)["auroc"]
    assert drawn.std() == pytest.approx(math.sqrt(variance), rel=0.06)


def test_spread_of_the_median_is_that_of_its_order_statistics():
    error = torch.rand(901, generator=generator(40), dtype=torch.float64).sort().values
    interval = evaluate_regression(error, torch.zeros(901)).intervals(2000)["median_ae"]
    half = 1.96 * math.sqrt(901) / 2
    assert interval.value == error[450]
    assert interval.low == pytest.approx(error[round(450 - half)].item(), abs=0.01)
    assert interval.high == pytest.approx(error[round(450 + half)].item(), abs=0.01)


def test_coverage():
    """95 % intervals hold the truth in about 95 % of data sets."""
    separation = 1.0
    truth = {
        "auroc": 0.5 * (1 + math.erf(separation / 2)),  # two unit normals that far apart
        "accuracy": 0.5 * (1 + math.erf(separation / 2 / math.sqrt(2))),
    }
    covered = dict.fromkeys([*truth, "rmse", "r2"], 0)
    num_sets = 200
    for seed in range(num_sets):
        target = torch.bernoulli(torch.full((150,), 0.5), generator=generator(seed))
        noise = torch.randn(150, generator=generator(1000 + seed))
        intervals = evaluate_binary((target - 0.5) * separation + noise, target).intervals(300)
        prediction = torch.randn(150, generator=generator(2000 + seed))
        intervals |= evaluate_regression(prediction, prediction + noise).intervals(300)
        for name, value in (truth | {"rmse": 1.0, "r2": 0.5}).items():
            covered[name] += intervals[name].low <= value <= intervals[name].high
    for name, count in covered.items():
        assert 0.89 <= count / num_sets <= 0.985, name


def test_calibration_interval_surrounds_its_value():
    """Plain percentiles would not: a resample's error is above that of its rows."""
    for seed in range(5):
        logits, target, _ = binary(400, seed=50 + seed)
        interval = evaluate_binary(logits, target).intervals(300)["ece"]
        assert 0 <= interval.low < interval.value < interval.high


def test_seed_and_pairing():
    logits, target, _ = binary(300, seed=60)
    first, again = (evaluate_binary(logits, target).intervals(200, seed=1) for _ in range(2))
    assert first == again != evaluate_binary(logits, target).intervals(200, seed=2)
    worse = logits + torch.randn(300, generator=generator(61)) / 2
    paired = (
        evaluate_binary(logits, target).resamples()["auroc"]
        - (evaluate_binary(worse, target).resamples()["auroc"])
    )
    apart = (
        evaluate_binary(logits, target).resamples()["auroc"]
        - (evaluate_binary(worse, target).resamples(seed=1)["auroc"])
    )
    assert paired.std() < 0.8 * apart.std()


def test_what_no_resampling_concerns():
    intervals = evaluate_ranking(*ranking()).intervals(50)
    assert intervals["skipped_queries"] == Interval(5.0, 5.0, 5.0)
    value = intervals["ndcg@10"]
    assert value.to_dict() == {"value": value.value, "low": value.low, "high": value.high}
    assert value.low < value.value < value.high


@pytest.mark.parametrize("num_rows", [1, 2])
def test_not_defined_is_nan(num_rows):
    evaluation = evaluate_binary(torch.rand(num_rows), torch.zeros(num_rows))
    with np.errstate(all="raise"):
        intervals = evaluation.intervals(20)
    for name in ("auroc", "average_precision"):
        assert np.isnan([intervals[name].value, intervals[name].low, intervals[name].high]).all()
    assert intervals["accuracy"] == Interval(0.0, 0.0, 0.0)
    single = evaluate_regression(torch.rand(1), torch.rand(1)).intervals(20)
    assert math.isnan(single["r2"].low) and single["mae"].low == single["mae"].value


def test_resamples_without_a_positive_are_left_out():
    logits, target = torch.arange(6.0), torch.tensor([0, 0, 0, 0, 1, 0])
    evaluation = evaluate_binary(logits, target)
    assert np.isnan(evaluation.resamples(100)["auroc"]).any()
    assert 0 < evaluation.intervals(100)["auroc"].low <= evaluation.intervals(100)["auroc"].high <= 1


def test_bad_input():
    evaluation = evaluate_binary(torch.rand(4), torch.tensor([0, 1, 1, 0]))
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 95"):
        evaluation.intervals(level=95)
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        evaluation.intervals(0)


def test_a_paired_difference_by_brute_force() -> None:
    """Both models err on the same hard rows: their intervals overlap, that of the difference is narrow."""
    generator = np.random.default_rng(5)
    target, hard = generator.normal(size=80), generator.normal(scale=3, size=80)
    first, second = target + hard, target + hard + 0.5 * np.sign(hard)
    evaluations = [evaluate_regression(torch.tensor(p), torch.tensor(target)) for p in (first, second)]
    told = evaluations[0].differences(evaluations[1])
    draws = np.random.default_rng(0)
    rows = [draws.integers(0, 80, 80) for _ in range(1000)]
    errors = [np.array([np.abs(p - target)[drawn].mean() for drawn in rows]) for p in (first, second)]
    low, high = np.quantile(errors[0] - errors[1], [0.025, 0.975])
    assert told["mae"].low == pytest.approx(low) and told["mae"].high == pytest.approx(high)
    assert told["mae"].value == pytest.approx(-0.5)
    alone = [evaluation.intervals()["mae"] for evaluation in evaluations]
    assert alone[0].high > alone[1].low and told["mae"].high < 0
    with pytest.raises(ValueError, match="same rows"):
        evaluations[0].differences(evaluate_regression(torch.zeros(3), torch.arange(3.0)))
