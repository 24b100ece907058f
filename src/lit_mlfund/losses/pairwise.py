"""Defines ranking losses over pairs of documents of a query: RankNet and the pairwise hinge."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_mlfund.losses.arguments import check_lists, check_positive
from lit_mlfund.losses.document_pairs import logistic_pair_sums, pad_scores
from lit_mlfund.losses.grades import count_pairs, find_runs, sort_by_relevance
from lit_mlfund.losses.reduction import query_mean


class RankNetLoss(nn.Module):
    """Computes a logistic loss on the score difference of every pair of documents that differ in relevance.

    softplus(−sigma (s_i − s_j)) for each pair with relevance_i > relevance_j: the mean over a query's pairs,
    then the weighted mean over the queries that have a pair. Time is proportional to the pairs whose better document
    is above the query's lowest grade; memory is O(Q L).

    sigma           steepness, > 0
    scores          `[Q, L]` floating
    relevance       `[Q, L]` grades >= 0, any dtype
    mask            `[Q, L]` bool, True where a document is real; None: all are
    weight          `[Q]` >= 0, one per query; None: all equal

    Raises ValueError for shapes that differ, a relevance below zero (checked on CPU tensors only), a sigma <= 0.
    Computed and returned in float32 at least. A second derivative raises RuntimeError.

    Source: Burges et al. 2005, "Learning to rank using gradient descent", section 3.
    """

    tasks = ("ranking",)

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__()
        check_positive("sigma", sigma)
        self.sigma = sigma

    def forward(
        self, scores: Tensor, relevance: Tensor, mask: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        return ranknet_loss(scores, relevance, mask, weight, sigma=self.sigma)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"


def ranknet_loss(
    scores: Tensor,
    relevance: Tensor,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    sigma: float = 1.0,
) -> Tensor:
    """Compute `RankNetLoss` as a function.

    >>> ranknet_loss(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[1, 0, 0]]))  # pairs 1 and 2 apart
    tensor(0.2201)
    """
    check_positive("sigma", sigma)
    lists = check_lists(scores, relevance, mask)
    by_grade = sort_by_relevance(lists, descending=True)
    grade = -by_grade.grade_QL.to(lists.scores_QL.dtype)
    score = pad_scores(lists.scores_QL * sigma, lists).gather(1, by_grade.order_QL)

    def better(queries: slice, rows: slice, columns: slice) -> Tensor:
        # Grades are integers that decrease along the list: their difference, clamped to [0, 1], marks the pairs.
        return (grade[queries, rows, None] - grade[queries, None, columns]).clamp_(0, 1)

    sums_Q = logistic_pair_sums(score, better, by_grade.runs.end_QL, lists.num_documents_Q)
    return query_mean(sums_Q / count_pairs(by_grade), lists.has_pair_Q, weight)


class PairwiseHingeLoss(nn.Module):
    """Computes a hinge on the score difference of every pair of documents that differ in relevance.

    max(0, margin − (s_i − s_j)) for each pair with relevance_i > relevance_j: the mean over a query's pairs,
    then the weighted mean over the queries that have a pair. O(L log L) time for each bit of the number of
    distinct grades (3 for grades 0–4), O(L) memory: pairs within the margin are counted by sorting.

    margin          > 0
    Other arguments, errors and precision as for `RankNetLoss`; the gradient at the kink is zero.

    Source: Herbrich et al. 2000, "Large margin rank boundaries for ordinal regression"; counting: Joachims
    2006, "Training linear SVMs in linear time", section 4.
    """

    tasks = ("ranking",)

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        check_positive("margin", margin)
        self.margin = margin

    def forward(
        self, scores: Tensor, relevance: Tensor, mask: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        return pairwise_hinge_loss(scores, relevance, mask, weight, margin=self.margin)

    def extra_repr(self) -> str:
        return f"margin={self.margin}"


def pairwise_hinge_loss(
    scores: Tensor,
    relevance: Tensor,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    margin: float = 1.0,
) -> Tensor:
    """Compute `PairwiseHingeLoss` as a function.

    >>> pairwise_hinge_loss(torch.tensor([[0.2, 0.0, 5.0]]), torch.tensor([[2, 1, 0]]))  # 0.8, 5.8 and 6
    tensor(4.2000)
    """
    check_positive("margin", margin)
    lists = check_lists(scores, relevance, mask)
    by_grade = sort_by_relevance(lists, descending=False)
    score = lists.scores_QL.gather(1, by_grade.order_QL).double()  # sums of large scores nearly cancel
    above_QL, below_QL = _count_pairs_within_margin(
        score.detach(), by_grade.grade_QL, by_grade.mask_QL, margin
    )
    # Over the pairs within the margin, the sum of margin − s_i + s_j is linear in the scores.
    sums_Q = margin * above_QL.sum(1).double() + ((below_QL - above_QL) * score).sum(1)
    loss_Q = (sums_Q / count_pairs(by_grade)).to(lists.scores_QL.dtype)
    return query_mean(loss_Q, lists.has_pair_Q, weight)


def _count_pairs_within_margin(
    score_QL: Tensor, grade_QL: Tensor, mask_QL: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Count the pairs with s_i − s_j < margin of each document, as the better and as the worse of the two.

    `grade_QL` holds integers that do not decrease along the list. Two different grades have a highest bit in which
    they differ: there the better document has a 1, the worse a 0, and the bits above, their group, are equal. So for
    each bit, documents are sorted by score within their group, with the better ones moved down by the margin, and a
    cumulative sum counts the worse ones after each.
    """
    above_QL, below_QL = torch.zeros_like(grade_QL), torch.zeros_like(grade_QL)
    for bit in range(int(grade_QL.max()).bit_length() if grade_QL.numel() else 0):
        better_QL = (grade_QL >> bit) % 2 == 1
        group_QL = grade_QL >> (bit + 1)
        # Sorts are stable: at equal keys the worse document, earlier in the list, stays first and is not counted.
        order = (score_QL - margin * better_QL.double()).argsort(dim=1, stable=True)
        order = order.gather(1, group_QL.gather(1, order).argsort(dim=1, stable=True))
        better = (better_QL & mask_QL).gather(1, order).long()
        worse = (~better_QL & mask_QL).gather(1, order).long()
        # Grades do not decrease along the list, so groups have the same positions before and after sorting.
        start, end = find_runs(group_QL)
        num_worse, num_better = worse.cumsum(1), better.cumsum(1)
        above_QL.scatter_add_(1, order, better * (num_worse.gather(1, end - 1) - num_worse))
        below_QL.scatter_add_(1, order, worse * (num_better - (num_better - better).gather(1, start)))
    return above_QL, below_QL
