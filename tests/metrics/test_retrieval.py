"""Ranks in blocks against the whole score matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lit_mlfund.metrics import embedding_ranks, mrr, ndcg, positive_ranks, recall_at_k


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def whole_matrix(scores: Tensor, positives: list[Tensor], exclude: list[Tensor] | None = None):
    """Relevance and mask of every item, for the metrics of padded lists."""
    relevance = torch.zeros(scores.shape, dtype=torch.long)
    mask = torch.ones(scores.shape, dtype=torch.bool)
    for query, items in enumerate(positives):
        relevance[query, items] = 1
        if exclude is not None:
            mask[query, exclude[query]] = False
            mask[query, items] = True
    return relevance, mask


def random_ids(num_queries: int, num_items: int, most: int, seed: int) -> list[Tensor]:
    source = generator(seed)
    sizes = torch.randint(most + 1, (num_queries,), generator=source).tolist()
    return [torch.randint(num_items, (size,), generator=source) for size in sizes]


@pytest.mark.parametrize("num_levels", [1, 3, 1000])
@pytest.mark.parametrize("block_size", [None, 1, 4])
@pytest.mark.parametrize("excluding", [False, True])
@pytest.mark.parametrize("most", [1, 5])
def test_equals_the_whole_matrix(num_levels, block_size, excluding, most):
    scores = torch.randint(num_levels, (21, 40), generator=generator(0)).float()
    positives = random_ids(21, 40, most, seed=1)
    exclude = random_ids(21, 40, 15, seed=2) if excluding else None
    kept = scores.clone()
    ranks = positive_ranks(lambda a, b: scores[a:b], 21, 40, positives, exclude, block_size)
    assert torch.equal(scores, kept)
    relevance, mask = whole_matrix(scores, positives, exclude)
    for k in (1, 3, 10, 100):
        close = dict(equal_nan=True, check_dtype=False, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(ranks.recall(k), recall_at_k(scores, relevance, mask, k=k), **close)
        torch.testing.assert_close(ranks.mrr(k), mrr(scores, relevance, mask, k=k), **close)
        torch.testing.assert_close(ranks.ndcg(k), ndcg(scores, relevance, mask, k=k), **close)
    torch.testing.assert_close(ranks.mrr(), mrr(scores, relevance, mask), **close)


@pytest.mark.parametrize("block_size", [None, 4])
def test_an_excluded_positive_is_a_miss_where_positives_are_excluded(block_size):
    scores = torch.tensor([[5.0, 4, 3], [5, 4, 3], [5, 4, 3]])
    positives, exclude = (
        torch.tensor([1, 1, 2]),
        [torch.tensor([0]), torch.tensor([0, 1]), torch.tensor([0, 1])],
    )
    rank = {"block_size": block_size, "exclude": exclude, "exclude_positives": True}
    ranks = positive_ranks(lambda a, b: scores[a:b], 3, 3, positives, **rank)
    for values in (ranks.recall(1), ranks.recall(100), ranks.mrr(), ranks.mrr(10), ranks.ndcg(10)):
        assert values.tolist() == [1, 0, 1]  # the second query's own item is never shown
    same = embedding_ranks(
        torch.eye(3)[:1].expand(3, -1), scores[0, :, None] * torch.eye(3)[:1], positives, **rank
    )
    assert same.recall(100).tolist() == [1, 0, 1] and same.recall(1).tolist() == [1, 0, 1]
    ranks = positive_ranks(lambda a, b: scores[a:b], 3, 3, positives, exclude)
    assert ranks.recall(1).tolist() == [1, 1, 1]
    two = [torch.tensor([0, 2])]  # of two positives, the better one is left out
    ranks = positive_ranks(lambda a, b: scores[a:b], 1, 3, two, [torch.tensor([0])], exclude_positives=True)
    assert (ranks.recall(2).tolist(), ranks.mrr().tolist()) == ([0.5], [0.5])


def test_embeddings():
    query, item = (
        torch.randn(30, 6, generator=generator(3)).double(),
        torch.randn(70, 6, generator=generator(4)),
    )
    positives = random_ids(30, 70, 3, seed=5)
    scores = query.float() @ item.T
    ranks = embedding_ranks(query, item, positives, block_size=7)
    relevance, _ = whole_matrix(scores, positives)
    torch.testing.assert_close(ranks.mrr().float(), mrr(scores, relevance), equal_nan=True)


def test_forms_of_item_numbers_are_equal():
    scores = torch.rand(4, 9, generator=generator(6))
    lists = [
        torch.tensor([3, 1]),
        torch.tensor([], dtype=torch.long),
        torch.tensor([8, 8]),
        torch.tensor([0]),
    ]
    table = torch.tensor([[1, 3, -1], [-1, -1, -1], [8, -1, 8], [-1, 0, -1]])
    ranks = [positive_ranks(lambda a, b: scores[a:b], 4, 9, ids) for ids in (lists, table, table.int())]
    assert len(ranks[0].query) == 4
    for other in ranks[1:]:
        torch.testing.assert_close(other.num_above, ranks[0].num_above)
        torch.testing.assert_close(other.query, ranks[0].query)
    single = positive_ranks(lambda a, b: scores[a:b], 4, 9, torch.tensor([3, -1, 8, 0]))
    assert single.query.tolist() == [0, 2, 3]
    assert single.recall(9).isnan().tolist() == [False, True, False, False]


@pytest.mark.parametrize("num_queries", [1, 5])
@pytest.mark.parametrize("width", [48, 64])
def test_copies_of_an_item_tie(num_queries, width):
    """The same product comes out differently in different places of a matrix product, by a rounding."""
    query = torch.nn.functional.normalize(torch.randn(num_queries, width, generator=generator(7)))
    item = torch.randn(1, width, generator=generator(8)).expand(1003, width)
    for positive in (0, 1002):
        ranks = embedding_ranks(query, item, torch.full((num_queries,), positive))
        assert ranks.num_tied.tolist() == [1003] * num_queries
        torch.testing.assert_close(ranks.recall(10), torch.full((num_queries,), 10 / 1003).double())


def test_no_queries_and_no_positives():
    ranks = positive_ranks(lambda a, b: torch.zeros(b - a, 5), 0, 5, torch.zeros(0, dtype=torch.long))
    assert ranks.recall(1).shape == ranks.mrr(1).shape == ranks.ndcg(1).shape == (0,)
    ranks = embedding_ranks(torch.rand(3, 2), torch.rand(5, 2), torch.full((3,), -1))
    assert ranks.recall(1).isnan().all() and ranks.mrr().isnan().all() and ranks.ndcg(1).isnan().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(positives=torch.tensor([0, 5])), r"positives: 1 item numbers are outside 0 … 4, such as 5"),
        (dict(positives=torch.tensor([0, -2])), r"positives: 1 item numbers are outside 0 … 4, such as -2"),
        (dict(exclude=torch.tensor([[0, 9], [7, -1]])), "exclude: 2 item numbers are outside"),
        (dict(positives=torch.tensor([0])), r"positives must be \[Q\] or \[Q, P\] with Q = 2, got \(1,\)"),
        (dict(positives=[torch.tensor([0])]), "positives must have one tensor for each of 2 queries, got 1"),
        (dict(positives=torch.tensor([0.0, 1.0])), "whole item numbers, got torch.float32"),
        (
            dict(score_block=lambda a, b: torch.zeros(5)),
            r"scores of queries 0 to 1 must be \[2, 5\], got \(5,\)",
        ),
        (dict(score_block=lambda a, b: torch.full((2, 5), torch.inf)), "10 of 10 are not finite"),
    ],
)
def test_bad_input(change, message):
    arguments = dict(
        score_block=lambda a, b: torch.zeros(b - a, 5),
        num_queries=2,
        num_items=5,
        positives=torch.tensor([0, 4]),
    )
    with pytest.raises(ValueError, match=message):
        positive_ranks(**(arguments | change))


@pytest.mark.parametrize(
    ("query", "item", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(5, 4), r"must be \[Q, D\] and \[M, D\], got \(2, 3\) and \(5, 4\)"),
        (torch.zeros(2), torch.zeros(5, 4), r"must be \[Q, D\]"),
        (torch.zeros(2, 3), torch.full((5, 3), torch.nan), "item embeddings: 15 of 15 numbers"),
        (torch.tensor([[0.0, torch.inf]] * 2), torch.zeros(5, 2), "query embeddings: 2 of 4 numbers"),
    ],
)
def test_bad_embeddings(query, item, message):
    with pytest.raises(ValueError, match=message):
        embedding_ranks(query, item, torch.tensor([0, 1]))


def test_bad_k():
    ranks = embedding_ranks(torch.rand(2, 3), torch.rand(4, 3), torch.tensor([0, 1]))
    for metric in (ranks.recall, ranks.mrr, ranks.ndcg):
        with pytest.raises(ValueError, match="k must be a whole number of at least 1, or None, got 0"):
            metric(0)
