"""Ranks the positives of each query among all items without ever storing the whole score matrix.

Ranks are tie-aware as in `ranking`: each positive has the numbers of items that score higher and that score the same,
and each metric is the expectation over all orderings of equal scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_mlfund.metrics.ranking import check_k, count_true, reciprocal_rank

Ids = Tensor | Sequence[Tensor]
_BLOCK = 1 << 20  # scores per block: 4 MB in float32, which stay in the cache
_BLOCK_GPU = 1 << 26
NEVER = 1 << 62  # `num_above` of a positive that the search leaves out


@dataclass(frozen=True)
class PositiveRanks:
    """Holds each positive's query and how many items score higher and the same (`num_tied`, itself included).

    The tensors are `[P]` on the CPU, in the order of the queries. The metrics are `[num_queries]` in float64, NaN
    where a query has no positive; every positive has the same gain. A positive that was left out of the search has
    `NEVER` items above it: a miss at any k.
    """

    query: Tensor
    num_above: Tensor
    num_tied: Tensor
    num_queries: int

    def recall(self, k: int) -> Tensor:
        """Compute the share of the query's positives in the first k ranks."""
        check_k(k)
        probability = ((k - self.num_above) / self.num_tied).clamp(0, 1)
        return self._sum_by_query(probability) / self._num_positives()

    def mrr(self, k: int | None = None) -> Tensor:
        """Compute one over the rank of the first positive, 0 if that rank is beyond k."""
        check_k(k)
        best = torch.full((self.num_queries,), torch.iinfo(torch.int64).max - 1)
        best = best.scatter_reduce(0, self.query, self.num_above, "amin")
        is_first = self.num_above == best[self.query]
        num_tied = torch.ones_like(best)
        num_tied = num_tied.scatter_reduce(0, self.query[is_first], self.num_tied[is_first], "amax")
        num_relevant = self._sum_by_query(is_first.double()).long()
        value = reciprocal_rank(best, num_tied, num_relevant, k, torch.float64)
        return torch.where((best >= NEVER) & (num_relevant > 0), 0.0, value)

    def ndcg(self, k: int) -> Tensor:
        """Compute the discounted gain in the first k ranks over that of ranking all positives on top."""
        check_k(k)
        discount = 1 / torch.arange(2, k + 2, dtype=torch.float64).log2()
        total = torch.nn.functional.pad(discount.cumsum(0), (1, 0))
        first, last = self.num_above.clamp(max=k), (self.num_above + self.num_tied).clamp(max=k)
        gain = self._sum_by_query((total[last] - total[first]) / self.num_tied)
        return (gain / total[self._num_positives().clamp(max=k).long()]).clamp(max=1)

    def _sum_by_query(self, value_P: Tensor) -> Tensor:
        return torch.zeros(self.num_queries, dtype=torch.float64).index_add_(0, self.query, value_P.double())

    def _num_positives(self) -> Tensor:
        return self._sum_by_query(torch.ones_like(self.query))


def embedding_ranks(
    query_QD: Tensor,
    item_MD: Tensor,
    positives: Ids,
    exclude: Ids | None = None,
    block_size: int | None = None,
    exclude_positives: bool = False,
) -> PositiveRanks:
    """Rank the positives among all M items by the inner product of query and item embeddings.

    Arguments are as in `positive_ranks`. Scores that differ by less than the rounding of the product (8 units in the
    last place of the longest item) count as equal, so that copies of an item tie.
    """
    for name, value in (("query", query_QD), ("item", item_MD)):
        if value.ndim != 2 or value.shape[1] != item_MD.shape[-1]:
            raise ValueError(
                "query and item embeddings must be [Q, D] and [M, D], "
                f"got {tuple(query_QD.shape)} and {tuple(item_MD.shape)}"
            )
        num_invalid = int((~torch.isfinite(value)).sum())
        if num_invalid:
            raise ValueError(f"{name} embeddings: {num_invalid} of {value.numel()} numbers are not finite")
    query_QD, item_MD = query_QD.float(), item_MD.float()
    longest = item_MD.norm(dim=1).max() if len(item_MD) else item_MD.new_zeros(())
    if block_size is None and item_MD.device.type != "cpu":
        block_size = max(32, _BLOCK_GPU // max(len(item_MD), 1))
    tolerance_Q = 8 * torch.finfo(torch.float32).eps * longest * query_QD.norm(dim=1)
    return positive_ranks(
        lambda start, stop: query_QD[start:stop] @ item_MD.T,
        len(query_QD),
        len(item_MD),
        positives,
        exclude,
        block_size,
        tolerance_Q,
        exclude_positives,
    )


def positive_ranks(
    score_block: Callable[[int, int], Tensor],
    num_queries: int,
    num_items: int,
    positives: Ids,
    exclude: Ids | None = None,
    block_size: int | None = None,
    tolerance_Q: Tensor | None = None,
    exclude_positives: bool = False,
) -> PositiveRanks:
    """Rank the positives by the scores that `score_block(start, stop)` returns for queries start … stop-1.

    score_block  returns `[stop - start, num_items]`, on any device
    positives    item indices `[Q]` or `[Q, P]`, -1 for padding; or a sequence of Q 1-D tensors
    exclude      likewise, items to leave out for a query (already seen)
    block_size   queries per block; by default as many as give a million scores, but at least 32
    tolerance_Q  scores of a query that differ by no more than this are equal; 0 by default
    exclude_positives  what becomes of a positive that `exclude` names: False keeps it in the search, True leaves it
                 out, as a system does that never shows it: a miss at any k

    Wrong shapes, item indices outside 0 … num_items-1 and scores that are not finite raise `ValueError`.
    """
    query_P, item_P = _query_item_pairs("positives", positives, num_queries, num_items)
    excluded = never = None
    if exclude is not None:
        query_E, item_E = _query_item_pairs("exclude", exclude, num_queries, num_items)
        pair_E, pair_P = query_E * num_items + item_E, query_P * num_items + item_P
        if exclude_positives:
            never = torch.isin(pair_P, pair_E)
            excluded = query_E, item_E
        else:
            is_excluded = ~torch.isin(pair_E, pair_P)
            excluded = query_E[is_excluded], item_E[is_excluded]
    num_above, num_tied = torch.zeros_like(query_P), torch.zeros_like(query_P)
    size = block_size or max(32, _BLOCK // max(num_items, 1))
    for start in range(0, num_queries, size):
        stop = min(start + size, num_queries)
        first, last = _index_range(query_P, start, stop)
        if first == last:
            continue
        scores = score_block(start, stop)
        if scores.shape != (stop - start, num_items):
            raise ValueError(
                f"scores of queries {start} to {stop - 1} must be [{stop - start}, {num_items}], "
                f"got {tuple(scores.shape)}"
            )
        if not torch.isfinite(scores.sum()) and (num_invalid := int((~torch.isfinite(scores)).sum())):
            raise ValueError(
                f"scores of queries {start} to {stop - 1}: {num_invalid} of {scores.numel()} are not finite "
                "(use exclude to leave items out)"
            )
        if excluded is not None:
            low, high = _index_range(excluded[0], start, stop)
            positions = tuple(part[low:high].to(scores.device) for part in (excluded[0] - start, excluded[1]))
            scores = scores.index_put(positions, scores.new_tensor(-torch.inf))
        tolerance = (
            scores.new_zeros(stop - start) if tolerance_Q is None else tolerance_Q[start:stop].to(scores)
        )
        positions = (query_P[first:last] - start).to(scores.device), item_P[first:last].to(scores.device)
        above, tied = _counts(scores, *positions, tolerance)
        num_above[first:last], num_tied[first:last] = above.cpu(), tied.cpu()
    if never is not None:
        num_above[never], num_tied[never] = NEVER, 1
    return PositiveRanks(query_P, num_above, num_tied, num_queries)


def _counts(scores: Tensor, row_P: Tensor, item_P: Tensor, tolerance: Tensor) -> tuple[Tensor, Tensor]:
    """Count the items above and tied with each positive; `row_P` is ascending."""
    own = scores[row_P, item_P]
    low, high = (own - tolerance[row_P])[:, None], (own + tolerance[row_P])[:, None]
    above, tied = torch.zeros_like(row_P), torch.zeros_like(row_P)
    # The n-th positives of all rows are counted together, for n = 0, 1, …
    number_in_row = torch.arange(len(row_P), device=row_P.device) - torch.searchsorted(row_P, row_P)
    for number in range(int(number_in_row.max()) + 1):
        selected = (number_in_row == number).nonzero().squeeze(1)
        row_scores = scores if len(selected) == len(scores) else scores[row_P[selected]]
        above[selected] = count_true(row_scores > high[selected])
        tied[selected] = count_true(row_scores >= low[selected]) - above[selected]
    return above, tied


def _query_item_pairs(name: str, ids: Ids, num_queries: int, num_items: int) -> tuple[Tensor, Tensor]:
    """Return the unique (query, item) pairs, sorted by query, on the CPU."""
    if isinstance(ids, Tensor):
        if ids.ndim not in (1, 2) or len(ids) != num_queries:
            raise ValueError(f"{name} must be [Q] or [Q, P] with Q = {num_queries}, got {tuple(ids.shape)}")
        table = ids.cpu() if ids.ndim == 2 else ids.cpu()[:, None]
        query = torch.arange(num_queries)[:, None].expand_as(table)
        query, item = query[table != -1], table[table != -1]
    else:
        if len(ids) != num_queries:
            raise ValueError(f"{name} must have one tensor for each of {num_queries} queries, got {len(ids)}")
        item = torch.cat([part.cpu() for part in ids]) if num_queries else torch.zeros(0, dtype=torch.long)
        query = torch.repeat_interleave(torch.tensor([len(part) for part in ids], dtype=torch.long))
    if item.is_floating_point() or item.dtype == torch.bool:
        raise ValueError(f"{name} must hold whole item numbers, got {item.dtype}")
    outside = item[(item < 0) | (item >= num_items)]
    if len(outside):
        raise ValueError(
            f"{name}: {len(outside)} item numbers are outside 0 … {num_items - 1}, such as {outside[0].item()}"
        )
    key = torch.unique(query * num_items + item.long())  # sorted
    return key // max(num_items, 1), key % max(num_items, 1)


def _index_range(sorted_query: Tensor, start: int, stop: int) -> tuple[int, int]:
    """Return the range of indices at which sorted query numbers are in start … stop-1."""
    first, last = torch.searchsorted(sorted_query, torch.tensor([start, stop])).tolist()
    return first, last
