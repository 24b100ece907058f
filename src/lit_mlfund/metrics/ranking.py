"""Computes ranking metrics of padded lists of judged documents, one value per query.

Documents with equal scores are unordered: each metric is its exact expectation over all orderings of them, so that a
constant score is worth as much as a random order. A document is relevant if its relevance is above zero; a query
without a relevant document has no value (NaN). Scores are only compared with each other, so adding a constant to all
of them changes nothing.

Shapes: `scores_QL`, `relevance_QL` and `mask_QL` are `[Q, L]`, the mask is True where a document is real (None:
everywhere), and values on padding are ignored. The result is `[Q]`. Only the first `k` ranks count; None counts all.
Wrong shapes, k < 1, a score that is not finite and a relevance below zero raise `ValueError`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Gain = Literal["exponential", "linear"]
_BLOCK = 1 << 22  # positions of tied documents per block


def ndcg(
    scores_QL: Tensor,
    relevance_QL: Tensor,
    mask: Tensor | None = None,
    k: int | None = None,
    gain: Gain = "exponential",
) -> Tensor:
    """Compute the discounted cumulative gain over that of the best ordering of the query's whole list.

    Gain 2^relevance - 1 (or the relevance itself, `gain="linear"`), discount 1 / log2(1 + rank).
    Source: Järvelin and Kekäläinen 2002; Burges et al. 2005 (gain); McSherry and Najork 2008 (ties).
    """
    if gain not in ("exponential", "linear"):
        raise ValueError(f'gain must be "exponential" or "linear", got {gain!r}')
    scores, relevance = _check_arguments(scores_QL, relevance_QL, mask, k)
    cutoff = _cutoff(scores, k)
    discount = 1 / torch.arange(2, cutoff + 2, device=scores.device, dtype=scores.dtype).log2()
    ideal = _largest(relevance, cutoff)
    highest = ideal[:, :1]

    top, order = scores.topk(min(cutoff + 1, scores.shape[1]))
    gain_sum = _gain(relevance.gather(1, order[:, :cutoff]), highest, gain) @ discount
    tied = _rows_with_ties(top)
    if tied.numel():
        ranked, order = scores[tied].sort(descending=True)
        first, last = _tie_bounds(ranked)
        mean_discount = _mean_over(discount, first, last)
        gains = _gain(relevance[tied].gather(1, order), highest[tied], gain)
        gain_sum[tied] = (gains * mean_discount).sum(1).to(gain_sum.dtype)
    return (gain_sum / (_gain(ideal, highest, gain) @ discount)).clamp(max=1)


def mrr(scores_QL: Tensor, relevance_QL: Tensor, mask: Tensor | None = None, k: int | None = None) -> Tensor:
    """Compute one over the rank of the first relevant document, 0 if that rank is beyond k.

    With r of n tied documents relevant, the first of them is the (j+1)-th of its group with probability
    r/(n-j) · prod_{i<j} (n-r-i)/(n-i).
    """
    scores, relevance = _check_arguments(scores_QL, relevance_QL, mask, k)
    relevant = relevance > 0
    best = torch.where(relevant, scores, -torch.inf).amax(1, keepdim=True)
    is_tied = scores == best
    counts = count_true(scores > best), count_true(is_tied), count_true(is_tied & relevant)
    return reciprocal_rank(*counts, k, scores.dtype)


def recall_at_k(
    scores_QL: Tensor, relevance_QL: Tensor, mask: Tensor | None = None, k: int | None = None
) -> Tensor:
    """Compute the share of the query's relevant documents that are in the first k ranks."""
    scores, relevance = _check_arguments(scores_QL, relevance_QL, mask, k)
    relevant = relevance > 0
    return _hits(scores, relevant, k) / count_true(relevant)


def precision_at_k(
    scores_QL: Tensor, relevance_QL: Tensor, mask: Tensor | None = None, k: int | None = None
) -> Tensor:
    """Compute the share of relevant documents in the first k ranks; ranks beyond a short list count as empty.

    Without k, it is the share of relevant documents in the list.
    """
    scores, relevance = _check_arguments(scores_QL, relevance_QL, mask, k)
    relevant = relevance > 0
    num_ranks = (scores > -torch.inf).sum(1) if k is None else k
    return (_hits(scores, relevant, k) / num_ranks).masked_fill(~relevant.any(1), torch.nan)


def average_precision(
    scores_QL: Tensor, relevance_QL: Tensor, mask: Tensor | None = None, k: int | None = None
) -> Tensor:
    """Compute the mean over *all* relevant documents of the precision at their rank, 0 for those beyond k.

    The j-th of n tied documents, r of them relevant, is at rank a+j below R relevant ones: it is relevant with
    probability r/n, and then 1 + R + (j-1)(r-1)/(n-1) relevant ones are expected up to it.
    """
    scores, relevance = _check_arguments(scores_QL, relevance_QL, mask, k)
    cutoff = _cutoff(scores, k)
    ranked, order = scores.sort(descending=True)
    relevant = (relevance > 0).gather(1, order)
    so_far = relevant.cumsum(1)
    rank = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    total = (so_far / rank * relevant)[:, :cutoff].sum(1, dtype=_sum_dtype(scores)).to(scores.dtype)
    tied = _rows_with_ties(ranked)
    if tied.numel():
        first, last = _tie_bounds(ranked[tied])
        counts = torch.nn.functional.pad(so_far[tied], (1, 0)).to(_sum_dtype(scores))
        above = counts.gather(1, first)
        num_tied, num_relevant = last - first, counts.gather(1, last) - above
        earlier = (rank - 1 - first) * (num_relevant - 1) / (num_tied - 1).clamp(min=1)
        part = num_relevant / num_tied * (1 + above + earlier) / rank
        total[tied] = part[:, :cutoff].sum(1).to(total.dtype)
    return total / so_far[:, -1]


def reciprocal_rank(
    num_above: Tensor, num_tied: Tensor, num_relevant: Tensor, k: int | None, dtype: torch.dtype
) -> Tensor:
    """Compute the expected reciprocal rank `[Q]` of a query's best relevant document from counts `[Q]`.

    `num_above` documents score higher, `num_tied` score the same (itself included), of which `num_relevant` are
    relevant; NaN where that is 0.
    """
    limit = torch.inf if k is None else k
    value = torch.where(num_above < limit, 1 / (num_above + 1).to(dtype), 0)
    tied = ((num_tied > 1) & (num_relevant > 0)).nonzero().squeeze(1)
    if tied.numel():
        num_steps = int(min(num_tied[tied].max(), limit))
        step = torch.arange(num_steps, device=value.device)
        for rows in tied.split(max(1, _BLOCK // num_steps)):
            above, ties = num_above[rows, None], num_tied[rows, None]
            remaining = (ties - step).clamp(min=1)
            share = (num_relevant[rows, None].to(_sum_dtype(value)) / remaining).clamp(max=1)
            none_before = torch.nn.functional.pad((1 - share).cumprod(1)[:, :-1], (1, 0), value=1.0)
            counts = (step < ties) & (above + step < limit)
            value[rows] = (none_before * share / (above + step + 1) * counts).sum(1).to(dtype)
    return value.masked_fill(num_relevant == 0, torch.nan)


def count_true(value_QL: Tensor) -> Tensor:
    """Count the True values of each row, `[Q]`; summing into 32 bits takes half the time of the default 64."""
    return value_QL.sum(1, dtype=torch.int32).long()


def check_k(k: int | None) -> None:
    """Raise ValueError unless k is None or an integer above 0."""
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise ValueError(f"k must be a whole number of at least 1, or None, got {k!r}")


def _check_arguments(
    scores: Tensor, relevance: Tensor, mask: Tensor | None, k: int | None
) -> tuple[Tensor, Tensor]:
    """Return both as floating-point tensors with at least one column; padding has score -inf, relevance 0."""
    if scores.ndim != 2:
        raise ValueError(f"scores must be [Q, L], got shape {tuple(scores.shape)}")
    if relevance.shape != scores.shape:
        raise ValueError(
            f"relevance must have the shape {tuple(scores.shape)} of scores, got {tuple(relevance.shape)}"
        )
    if mask is not None and (mask.shape != scores.shape or mask.dtype != torch.bool):
        raise ValueError(
            f"mask must be a bool tensor of the shape {tuple(scores.shape)} of scores, "
            f"got {mask.dtype} {tuple(mask.shape)}"
        )
    check_k(k)
    if not scores.is_floating_point():
        scores = scores.to(_sum_dtype(scores))
    elif scores.dtype.itemsize < 4:
        scores = scores.float()
    relevance = relevance.to(scores.dtype)
    if not torch.isfinite(scores.sum()):  # one cheap pass: NaN or inf anywhere shows in the sum
        invalid = ~torch.isfinite(scores) if mask is None else ~torch.isfinite(scores) & mask
        if invalid.any():
            raise ValueError(
                f"scores: {int(invalid.sum())} of {invalid.numel()} are not finite (use mask to leave documents out)"
            )
    if mask is not None:
        scores, relevance = scores.masked_fill(~mask, -torch.inf), relevance.masked_fill(~mask, 0)
    if scores.shape[1] == 0:
        scores, relevance = scores.new_full((len(scores), 1), -torch.inf), relevance.new_zeros(len(scores), 1)
    if relevance.numel() and not (relevance.amin() >= 0 and relevance.amax() < torch.inf):
        invalid = ~((relevance >= 0) & (relevance < torch.inf))
        raise ValueError(
            f"relevance: {int(invalid.sum())} of {invalid.numel()} are below zero or not finite, "
            f"such as {relevance[invalid][0]:g}"
        )
    return scores, relevance


def _cutoff(scores: Tensor, k: int | None) -> int:
    return scores.shape[1] if k is None else min(k, scores.shape[1])


def _sum_dtype(scores: Tensor) -> torch.dtype:
    """Return the dtype for sums over groups of ties; MPS has no float64."""
    return torch.float32 if scores.device.type == "mps" else torch.float64


def _gain(relevance: Tensor, highest_Q1: Tensor, gain: Gain) -> Tensor:
    """Compute gains up to a factor per query, which cancels in NDCG and keeps 2^relevance finite."""
    if gain == "linear":
        return relevance
    return torch.exp2(relevance - highest_Q1) - torch.exp2(-highest_Q1)


def _largest(value: Tensor, k: int) -> Tensor:
    """Return the k largest values of each row in descending order."""
    if value.device.type != "cpu":
        return value.topk(k).values
    # numpy's vectorised sort of whole rows takes a sixth of the time of torch's selection
    ascending = torch.from_numpy(np.sort(value.detach().numpy(), axis=1))
    return ascending[:, -k:].flip(1)


def _rows_with_ties(ranked: Tensor) -> Tensor:
    """Return the indices of rows of sorted scores in which two real documents have equal scores."""
    equal = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] > -torch.inf)
    return equal.any(1).nonzero().squeeze(1)


def _tie_bounds(ranked_QL: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the group of equal scores at each position of sorted scores starts and ends (exclusive)."""
    length = ranked_QL.shape[1]
    position = torch.arange(length, device=ranked_QL.device)
    changes = ranked_QL[:, 1:] != ranked_QL[:, :-1]
    first = torch.nn.functional.pad(position[1:] * changes, (1, 0)).cummax(1).values
    last = torch.where(changes, position[1:], length)
    last = torch.nn.functional.pad(last, (0, 1), value=length).flip(1).cummin(1).values.flip(1)
    return first, last


def _mean_over(weight_K: Tensor, first_QL: Tensor, last_QL: Tensor) -> Tensor:
    """Average the weights at positions `first` to `last` - 1, taking weights beyond K as zero."""
    total = torch.nn.functional.pad(weight_K.to(_sum_dtype(weight_K)).cumsum(0), (1, 0))
    end = total.shape[0] - 1
    return (total[last_QL.clamp(max=end)] - total[first_QL.clamp(max=end)]) / (last_QL - first_QL)


def _hits(scores: Tensor, relevant: Tensor, k: int | None) -> Tensor:
    """Compute the expected number of relevant documents in the first k ranks."""
    cutoff = _cutoff(scores, k)
    if cutoff == scores.shape[1]:
        return count_true(relevant).to(scores.dtype)
    top = _largest(scores, cutoff + 1)
    hits = count_true((scores >= top[:, -2:-1]) & relevant).to(scores.dtype)
    tied = _rows_with_ties(top[:, -2:])
    if tied.numel():
        tied_scores, tied_relevant, boundary = scores[tied], relevant[tied], top[tied, -1:]
        above, at_boundary = tied_scores > boundary, tied_scores == boundary
        share = (cutoff - count_true(above)).to(hits.dtype) / count_true(at_boundary)
        hits[tied] = count_true(above & tied_relevant) + count_true(at_boundary & tied_relevant) * share
    return hits
