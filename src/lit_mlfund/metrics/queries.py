"""Evaluates every metric of ranking and retrieval with bootstrap intervals over queries, from per-query values.

Only these values are stored per query, so that a file larger than memory can be evaluated.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lit_mlfund.metrics.bootstrap import Evaluation
from lit_mlfund.metrics.ranking import average_precision, mrr, ndcg, precision_at_k, recall_at_k
from lit_mlfund.metrics.retrieval import PositiveRanks


def ranking_values(scores_QL: Tensor, relevance_QL: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
    """Return ndcg@5, ndcg@10, mrr@10, map, precision@10, recall@10 of each query `[Q]`; see `ranking`."""
    lists = (scores_QL, relevance_QL, mask)
    return {
        "ndcg@5": ndcg(*lists, k=5),
        "ndcg@10": ndcg(*lists, k=10),
        "mrr@10": mrr(*lists, k=10),
        "map": average_precision(*lists),
        "precision@10": precision_at_k(*lists, k=10),
        "recall@10": recall_at_k(*lists, k=10),
    }


def retrieval_values(ranks: PositiveRanks) -> dict[str, Tensor]:
    """Return recall@1, recall@10, recall@100, mrr@10, ndcg@10 of each query `[Q]`.

    `ranks` come from `embedding_ranks` or `positive_ranks`.
    """
    return {
        "recall@1": ranks.recall(1),
        "recall@10": ranks.recall(10),
        "recall@100": ranks.recall(100),
        "mrr@10": ranks.mrr(10),
        "ndcg@10": ranks.ndcg(10),
    }


def evaluate_ranking(scores_QL: Tensor, relevance_QL: Tensor, mask: Tensor | None = None) -> Evaluation:
    """Evaluate ranking metrics: `evaluate_queries(ranking_values(…))`."""
    return evaluate_queries(ranking_values(scores_QL, relevance_QL, mask))


def evaluate_retrieval(ranks: PositiveRanks) -> Evaluation:
    """Evaluate retrieval metrics: `evaluate_queries(retrieval_values(…))`."""
    return evaluate_queries(retrieval_values(ranks))


def evaluate_queries(values: dict[str, Tensor]) -> Evaluation:
    """Average each metric over queries, from its values `[Q]`, and count skipped_queries.

    Queries without a relevant document or a positive have NaN in every metric; they are skipped and counted.
    """
    table = torch.stack([value.cpu().double() for value in values.values()], dim=1).numpy()
    if not len(table):
        raise ValueError("no queries to evaluate")
    defined = ~np.isnan(table[:, 0])
    statistics = np.column_stack([defined, np.where(defined[:, None], table, 0)])

    def measure(counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        total, *sums = (counts_RN @ statistics).T
        return {name: value / total for name, value in zip(values, sums)}

    return Evaluation(len(table), measure, {"skipped_queries": float((~defined).sum())})
