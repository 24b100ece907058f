"""Defines ranking losses over whole lists of documents: LambdaRank, ListNet, ListMLE and ApproxNDCG."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_mlfund.losses.arguments import PaddedLists, check_cutoff, check_lists, check_positive
from lit_mlfund.losses.document_pairs import (
    logistic_pair_sums,
    pad_scores,
    raise_on_second_derivative,
    soft_ranks,
)
from lit_mlfund.losses.grades import sort_by_relevance
from lit_mlfund.losses.reduction import query_mean


class LambdaRankLoss(nn.Module):
    """Computes RankNet's loss, weighting each pair by how much swapping its documents would change NDCG.

    |ΔNDCG_ij| · softplus(−sigma (s_i − s_j)), *summed* over a query's pairs with relevance_i > relevance_j,
    then the weighted mean over the queries that have such a pair. NDCG has gain 2^relevance − 1 and discount
    1/log2(1 + rank). Ranks come from the current scores, best first; equal scores rank in input order (as
    in LightGBM). No gradient flows through ΔNDCG. Memory is O(Q L); with `k`, time is O(Q L k).

    sigma           steepness, > 0
    k               LightGBM's `lambdarank_truncation_level`: a pair counts if its higher-*ranked* document is
                    in the top k, and NDCG is normalised by the ideal DCG at k; None: all pairs
    scores          `[Q, L]` floating
    relevance       `[Q, L]` grades >= 0, any dtype
    mask            `[Q, L]` bool, True where a document is real; None: all are
    weight          `[Q]` >= 0, one per query; None: all equal

    Raises ValueError for shapes that differ, a relevance below zero (checked on CPU tensors only), a sigma <= 0 or k
    < 1. Computed and returned in float32 at least. A second derivative raises RuntimeError.

    Source: Burges 2010, "From RankNet to LambdaRank to LambdaMART", section 4; as a loss: Wang et al. 2018,
    "The LambdaLoss framework", section 3.
    """

    tasks = ("ranking",)

    def __init__(self, sigma: float = 1.0, k: int | None = None) -> None:
        super().__init__()
        check_positive("sigma", sigma)
        check_cutoff(k)
        self.sigma = sigma
        self.k = k

    def forward(
        self, scores: Tensor, relevance: Tensor, mask: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        return lambdarank_loss(scores, relevance, mask, weight, sigma=self.sigma, k=self.k)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}, k={self.k}"


def lambdarank_loss(
    scores: Tensor,
    relevance: Tensor,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    sigma: float = 1.0,
    k: int | None = None,
) -> Tensor:
    """Compute `LambdaRankLoss` as a function.

    >>> scores, relevance = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[0, 1, 2]])
    >>> lambdarank_loss(scores, relevance)
    tensor(1.1069)
    >>> lambdarank_loss(scores, relevance, k=1)  # the pair of the last two documents does not count
    tensor(1.2250)
    """
    check_positive("sigma", sigma)
    check_cutoff(k)
    lists = check_lists(scores, relevance, mask)
    num_documents = lists.scores_QL.shape[1]
    by_score = lists.fill_padding(lists.scores_QL.detach(), -math.inf)
    by_score = by_score.argsort(dim=1, descending=True, stable=True)
    discount_L = _discounts(lists)
    gain = _gains(lists)
    score = pad_scores(lists.scores_QL * sigma, lists)
    if k is not None and k < num_documents:
        gain = gain / _dcg(gain.topk(k).values, discount_L)
        score, gain = score.gather(1, by_score), gain.gather(1, by_score)

        def swap(queries: slice, rows: slice, columns: slice) -> Tensor:
            """Return signed ΔNDCG in score order: negative where the lower-ranked document is the better one."""
            drop_IJ = (discount_L[rows, None] - discount_L[columns]).clamp_(min=0)  # 0 unless ranked lower
            return (gain[queries, rows, None] - gain[queries, None, columns]).mul_(drop_IJ)

        below = torch.arange(1, num_documents + 1, device=score.device).expand_as(by_score)
        sums_Q = logistic_pair_sums(score, swap, below, lists.num_documents_Q, max_rows=k, signed=True)
        return query_mean(sums_Q, lists.has_pair_Q, weight)

    by_grade = sort_by_relevance(lists, descending=True)
    discount = torch.empty_like(gain).scatter_(1, by_score, discount_L.expand_as(gain))
    score, gain, discount = (t.gather(1, by_grade.order_QL) for t in (score, gain, discount))
    gain = gain / _dcg(gain, discount_L)

    def delta_ndcg(queries: slice, rows: slice, columns: slice) -> Tensor:
        # Gains decrease along the list, so clamping at 0 removes the lower triangle.
        rise_QIJ = (gain[queries, rows, None] - gain[queries, None, columns]).clamp_(min=0)
        return rise_QIJ.mul_((discount[queries, rows, None] - discount[queries, None, columns]).abs_())

    sums_Q = logistic_pair_sums(score, delta_ndcg, by_grade.runs.end_QL, lists.num_documents_Q)
    return query_mean(sums_Q, lists.has_pair_Q, weight)


class ListNetLoss(nn.Module):
    """Computes the cross-entropy of softmax(relevance) with softmax(scores / temperature) per query.

    The value is the weighted mean over the queries that have two documents of different relevance. O(L): two
    softmaxes per query.

    temperature     divides the scores, > 0
    Other arguments, errors and precision as for `LambdaRankLoss`.

    Source: Cao et al. 2007, "Learning to rank: from pairwise approach to listwise approach", section 4 (top
    one).
    """

    tasks = ("ranking",)

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        self.temperature = temperature

    def forward(
        self, scores: Tensor, relevance: Tensor, mask: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        return listnet_loss(scores, relevance, mask, weight, temperature=self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


def listnet_loss(
    scores: Tensor,
    relevance: Tensor,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    temperature: float = 1.0,
) -> Tensor:
    """Compute `ListNetLoss` as a function.

    >>> listnet_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[1, 0]]))  # the entropy of softmax([1, 0])
    tensor(0.5822)
    """
    check_positive("temperature", temperature)
    lists = check_lists(scores, relevance, mask)
    logits = pad_scores(lists.scores_QL / temperature, lists)
    target = pad_scores(lists.relevance_QL, lists).softmax(1)
    loss_Q = F.cross_entropy(logits, target, reduction="none")
    return query_mean(loss_Q, lists.has_pair_Q, weight)


class ListMLELoss(nn.Module):
    """Computes the negative log-likelihood of the relevance order under the scores' Plackett–Luce model.

    Each document adds −log(e^{s_i} / (e^{s_i} + Σ e^{s_j})), j over the documents of *lower* relevance:
    without ties that is ListMLE; documents of equal relevance are not compared with each other, whatever their
    order in the batch. A query's documents are summed, then the weighted mean is taken over the queries that
    have two of different relevance.

    Arguments, errors and precision as for `LambdaRankLoss`.

    Source: Xia et al. 2008, "Listwise approach to learning to rank: theory and algorithm", section 4.
    """

    tasks = ("ranking",)

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self, scores: Tensor, relevance: Tensor, mask: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        return listmle_loss(scores, relevance, mask, weight)


def listmle_loss(
    scores: Tensor, relevance: Tensor, mask: Tensor | None = None, weight: Tensor | None = None
) -> Tensor:
    """Compute `ListMLELoss` as a function.

    >>> listmle_loss(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[2, 1, 0]]))  # log 3!
    tensor(1.7918)
    """
    lists = check_lists(scores, relevance, mask)
    by_grade = sort_by_relevance(lists, descending=False)
    # In float64, as large scores nearly cancel.
    score = pad_scores(lists.scores_QL.double(), lists).gather(1, by_grade.order_QL)
    if score.requires_grad:
        score.register_hook(raise_on_second_derivative)  # that of logcumsumexp is NaN
    # Padding ranks below all documents and contributes nothing.
    total = F.pad(score.logcumsumexp(1), (1, 0), value=-torch.finfo(score.dtype).max / 4)
    rest = total.gather(1, by_grade.runs.start_QL)
    loss_Q = F.softplus(rest - score).masked_fill(~by_grade.mask_QL, 0).sum(1)
    return query_mean(loss_Q.to(lists.scores_QL.dtype), lists.has_pair_Q, weight)


class ApproxNDCGLoss(nn.Module):
    """Computes 1 − NDCG at soft ranks: rank_i = 1 + Σ_{j≠i} sigmoid((s_j − s_i) / temperature).

    Gain 2^relevance − 1, discount 1/log2(1 + rank); the weighted mean over the queries that have two
    documents of different relevance. O(L²) time, O(L) memory.

    temperature     > 0; a small one is close to NDCG, with gradients that vanish away from ties
    Other arguments, errors and precision as for `LambdaRankLoss`.

    Source: Qin et al. 2010, "A general approximation framework for direct optimization of information
    retrieval measures", section 4; Bruch et al. 2019, "Revisiting approximate metric optimization", for the
    default.
    """

    tasks = ("ranking",)

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        self.temperature = temperature

    def forward(
        self, scores: Tensor, relevance: Tensor, mask: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        return approx_ndcg_loss(scores, relevance, mask, weight, temperature=self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


def approx_ndcg_loss(
    scores: Tensor,
    relevance: Tensor,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    temperature: float = 0.1,
) -> Tensor:
    """Compute `ApproxNDCGLoss` as a function.

    >>> approx_ndcg_loss(torch.tensor([[9.0, 0.0]]), torch.tensor([[0, 1]]))  # 1 − 1/log2(3): ranked second
    tensor(0.3691)
    """
    check_positive("temperature", temperature)
    lists = check_lists(scores, relevance, mask)
    rank = soft_ranks(pad_scores(lists.scores_QL / temperature, lists))
    gain = _gains(lists)
    ideal = _dcg(gain.sort(dim=1, descending=True).values, _discounts(lists))
    loss_Q = 1 - (gain / torch.log2(1 + rank) / ideal).sum(1)
    return query_mean(loss_Q, lists.has_pair_Q, weight)


def _gains(lists: PaddedLists) -> Tensor:
    """Return 2^relevance − 1 over 2^(the query's highest relevance), so that no grade overflows; 0 on padding."""
    relevance = lists.relevance_QL
    return -torch.expm1(-math.log(2) * relevance) * torch.exp2(relevance - relevance.amax(1, keepdim=True))


def _discounts(lists: PaddedLists) -> Tensor:
    """Return 1/log2(1 + rank) for the ranks 1 … L."""
    scores = lists.scores_QL
    return 1 / torch.arange(2, scores.shape[1] + 2, dtype=scores.dtype, device=scores.device).log2()


def _dcg(gain_QL: Tensor, discount_L: Tensor) -> Tensor:
    """Compute the DCG `[Q, 1]` of documents in input order; 1 where nothing is relevant."""
    dcg_Q1 = (gain_QL * discount_L[: gain_QL.shape[1]]).sum(1, keepdim=True)
    return torch.where(dcg_Q1 > 0, dcg_Q1, 1)
