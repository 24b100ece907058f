"""Ranking metrics against plain definitions averaged over the orderings of ties, and other libraries."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, ndcg_score
from torch import Tensor

from lit_mlfund.metrics import average_precision, mrr, ndcg, precision_at_k, recall_at_k

METRICS = {
    "ndcg": ndcg,
    "mrr": mrr,
    "recall": recall_at_k,
    "precision": precision_at_k,
    "map": average_precision,
}


def plain(name: str, relevance: tuple[float, ...], k: int, linear: bool = False) -> float:
    """A metric of one list, best score first, without ties, from its textbook definition."""
    num_relevant = sum(value > 0 for value in relevance)
    ranks = [rank for rank, value in enumerate(relevance, 1) if value > 0 and rank <= k]
    if name == "ndcg":

        def dcg(values):
            gains = [value if linear else 2.0**value - 1 for value in values]
            return sum(gain / math.log2(1 + rank) for rank, gain in enumerate(gains[:k], 1))

        return dcg(relevance) / dcg(sorted(relevance, reverse=True))
    if name == "mrr":
        return 1 / ranks[0] if ranks else 0.0
    if name == "recall":
        return len(ranks) / num_relevant
    if name == "precision":
        return len(ranks) / k
    return sum((i + 1) / rank for i, rank in enumerate(ranks)) / num_relevant


def expected(name: str, scores: list[float], relevance: list[float], k: int, linear: bool = False) -> float:
    """The mean of `plain` over every ordering that the scores allow."""
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    return float(np.mean([plain(name, tuple(relevance[i] for i in order), k, linear) for order in orders]))


def tied_lists(num_queries: int, length: int, num_levels: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(num_levels, (num_queries, length), generator=generator).double()
    relevance = torch.randint(4, (num_queries, length), generator=generator)
    relevance = relevance * (torch.rand(num_queries, length, generator=generator) < 0.6)
    relevance[relevance.sum(1) == 0, 0] = 2
    return scores, relevance


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("num_levels", [1, 2, 4])
def test_ties_are_averaged_over_their_orderings(name, k, num_levels):
    scores, relevance = tied_lists(8, 6, num_levels, seed=k)
    want = [expected(name, s, r, k) for s, r in zip(scores.tolist(), relevance.tolist())]
    np.testing.assert_allclose(METRICS[name](scores, relevance, k=k), want, atol=1e-12)


def test_ties_under_linear_gain():
    scores, relevance = tied_lists(8, 6, 3, seed=5)
    want = [expected("ndcg", s, r, 4, linear=True) for s, r in zip(scores.tolist(), relevance.tolist())]
    np.testing.assert_allclose(ndcg(scores, relevance, k=4, gain="linear"), want, atol=1e-12)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [1, 10, 40, None])
def test_lists_without_ties(name, k):
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(50, 30, generator=generator)
    relevance = torch.randint(5, (50, 30), generator=generator)
    order = scores.argsort(descending=True)
    lists = relevance.gather(1, order).tolist()
    want = [plain(name, tuple(values), k or 30) for values in lists]
    np.testing.assert_allclose(METRICS[name](scores, relevance, k=k), want, rtol=1e-5)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [3, None])
@pytest.mark.parametrize("num_levels", [3, 1000])
def test_padding_shift_permutation_and_dtype_change_nothing(name, k, num_levels):
    scores, relevance = tied_lists(40, 12, num_levels, seed=3)
    metric = METRICS[name]
    want = metric(scores, relevance, k=k)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(metric(scores[:, order], relevance[:, order], k=k), want)
    torch.testing.assert_close(metric(scores - 1024, relevance, k=k), want)
    torch.testing.assert_close(metric(scores.int(), relevance.double(), k=k), want)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        small = scores.clamp(max=200).to(dtype)  # whole numbers that every type holds
        result = metric(small, relevance, k=k)
        assert result.dtype == torch.float32
        torch.testing.assert_close(
            result.double(), metric(small.double(), relevance, k=k), rtol=1e-6, atol=1e-6
        )
    garbage = torch.tensor([torch.nan, torch.inf, -torch.inf, 5.0]).expand(40, 4)
    mask = torch.arange(16) < 12
    torch.testing.assert_close(
        metric(torch.cat([scores, garbage], 1), torch.cat([relevance, garbage], 1), mask.expand(40, 16), k=k),
        want,
    )


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_queries_without_a_value(metric):
    scores = torch.zeros(4, 3)
    relevance = torch.tensor([[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1]])
    mask = torch.tensor([[True] * 3, [True, False, True], [False] * 3, [True] * 3])
    result = metric(scores, relevance, mask, k=2)
    assert result.isnan().tolist() == [True, True, True, False]
    assert metric(torch.zeros(2, 0), torch.zeros(2, 0)).isnan().all()
    assert metric(torch.zeros(0, 5), torch.zeros(0, 5), k=2).shape == (0,)


def test_constant_scorer_is_worth_a_random_order():
    generator = torch.Generator().manual_seed(2)
    relevance = torch.randint(3, (1, 9), generator=generator)
    shuffled = torch.rand(20_000, 9, generator=generator)
    for metric in METRICS.values():
        random = metric(shuffled, relevance.expand(20_000, 9), k=4)
        constant = metric(torch.zeros(1, 9), relevance, k=4)
        assert abs(float(random.mean() - constant)) < 4 * float(random.std()) / math.sqrt(20_000) + 1e-7


def test_extreme_scores_and_relevance():
    scores = torch.tensor([[1e38, -1e38, 0.0, 3e38]])
    relevance = torch.tensor([[1, 1000, 0, 999]])  # 2^1000 is finite in no float32
    gains = np.array([999, 1, 0, 1000]) - 1000.0
    best = np.sort(gains)[::-1]
    discount = 1 / np.log2(np.arange(2, 6))
    want = (2.0**gains * discount)[[0, 1, 3]].sum() / (2.0**best * discount)[:3].sum()
    np.testing.assert_allclose(ndcg(scores, relevance), [want], rtol=1e-6)
    assert mrr(scores, relevance).item() == 1


def test_agrees_with_scikit_learn():
    generator = torch.Generator().manual_seed(4)
    scores = torch.randint(8, (30, 25), generator=generator).double()
    relevance = torch.randint(4, (30, 25), generator=generator)
    relevance[:, 0] = 3
    for k in (5, None):
        want = [ndcg_score(r[None], s[None], k=k) for s, r in zip(scores.numpy(), relevance.numpy())]
        np.testing.assert_allclose(ndcg(scores, relevance, k=k, gain="linear"), want)
        powers = 2.0 ** relevance.numpy() - 1
        want = [ndcg_score(r[None], s[None], k=k) for s, r in zip(scores.numpy(), powers)]
        np.testing.assert_allclose(ndcg(scores, relevance, k=k), want)
    distinct = torch.rand(30, 25, generator=generator)
    want = [average_precision_score(r > 1, s) for s, r in zip(distinct.numpy(), relevance.numpy())]
    np.testing.assert_allclose(average_precision(distinct, relevance > 1), want, rtol=1e-6)


def other_libraries(scores: Tensor, relevance: Tensor) -> tuple[dict, dict]:
    runs = {
        f"q{q}": {f"d{d}": float(value) for d, value in enumerate(row)}
        for q, row in enumerate(scores.tolist())
    }
    qrels = {
        f"q{q}": {f"d{d}": int(v) for d, v in enumerate(row)} for q, row in enumerate(relevance.tolist())
    }
    return qrels, runs


def test_agrees_with_pytrec_eval():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    generator = torch.Generator().manual_seed(5)
    scores = torch.rand(30, 25, generator=generator)
    relevance = torch.randint(3, (30, 25), generator=generator)
    qrels, runs = other_libraries(scores, relevance)
    names = {"ndcg_cut_10", "ndcg", "map", "map_cut_10", "recip_rank", "recall_10", "P_10"}
    result = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(runs)
    for name, value in {
        "ndcg_cut_10": ndcg(scores, relevance, k=10, gain="linear"),
        "ndcg": ndcg(scores, relevance, gain="linear"),
        "map": average_precision(scores, relevance),
        "map_cut_10": average_precision(scores, relevance, k=10),
        "recip_rank": mrr(scores, relevance),
        "recall_10": recall_at_k(scores, relevance, k=10),
        "P_10": precision_at_k(scores, relevance, k=10),
    }.items():
        np.testing.assert_allclose(value, [result[f"q{q}"][name] for q in range(30)], rtol=1e-5, err_msg=name)


def test_agrees_with_ranx(ranx):
    generator = torch.Generator().manual_seed(6)
    scores = torch.rand(20, 25, generator=generator)
    relevance = torch.randint(3, (20, 25), generator=generator)
    relevance[:, 0] = 1
    qrels, runs = other_libraries(scores, relevance)
    ours = {
        "ndcg@10": ndcg(scores, relevance, k=10, gain="linear"),
        "ndcg_burges@10": ndcg(scores, relevance, k=10),
        "map": average_precision(scores, relevance),
        "mrr@10": mrr(scores, relevance, k=10),
        "recall@10": recall_at_k(scores, relevance, k=10),
        "precision@10": precision_at_k(scores, relevance, k=10),
    }
    theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(runs), list(ours))
    for name, value in ours.items():
        np.testing.assert_allclose(value.mean(), theirs[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(scores_QL=torch.zeros(3)), r"scores must be \[Q, L\], got shape \(3,\)"),
        (dict(relevance_QL=torch.zeros(2, 4)), r"relevance must have the shape \(2, 3\).*got \(2, 4\)"),
        (dict(mask=torch.ones(3, dtype=torch.bool)), r"mask must be a bool tensor.*got torch.bool \(3,\)"),
        (dict(mask=torch.ones(2, 3)), r"mask must be a bool tensor.*got torch.float32"),
        (dict(k=0), "k must be a whole number of at least 1, or None, got 0"),
        (dict(k=True), "k must be a whole number"),
        (dict(k=2.0), "k must be a whole number"),
        (
            dict(scores_QL=torch.tensor([[0, torch.nan, 1], [torch.inf, 0, 0]])),
            "scores: 2 of 6 are not finite",
        ),
        (dict(relevance_QL=torch.tensor([[0, -1, 1], [2, 0, 0]])), "relevance: 1 of 6 are below zero.*-1"),
        (dict(relevance_QL=torch.tensor([[0, torch.nan, 1.0], [2, 0, 0]])), "relevance: 1 of 6"),
    ],
)
def test_bad_input(metric, change, message):
    arguments = dict(scores_QL=torch.rand(2, 3), relevance_QL=torch.ones(2, 3), k=2) | change
    with pytest.raises(ValueError, match=message):
        metric(**arguments)


def test_the_best_order_is_worth_exactly_one():
    relevance = torch.randint(4, (200, 37), generator=torch.Generator().manual_seed(7))
    relevance[:, 0] = 1
    assert ndcg(relevance.float(), relevance).max() == ndcg(relevance.float(), relevance, k=9).max() == 1
    assert ndcg(torch.zeros(200, 37), torch.full((200, 37), 2)).max() == 1


def test_unknown_gain():
    with pytest.raises(ValueError, match="gain must be"):
        ndcg(torch.rand(2, 3), torch.ones(2, 3), gain="exp")
