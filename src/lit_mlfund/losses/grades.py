"""Sorts the documents of each query by relevance and finds runs of equal relevance."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_mlfund.losses.arguments import PaddedLists


class Runs(NamedTuple):
    """Holds the start of the run of equal numbers at each position of a list, and the first position after it."""

    start_QL: Tensor
    end_QL: Tensor


class SortedByRelevance(NamedTuple):
    """Holds the documents of each query sorted by relevance, with padding as the lowest.

    order_QL   index of the document at each position
    mask_QL    True where that document is real
    grade_QL   number of changes of relevance up to there: 0 in the first run, 1 in the second, …
    runs       runs of equal relevance
    """

    order_QL: Tensor
    mask_QL: Tensor
    grade_QL: Tensor
    runs: Runs


def sort_by_relevance(lists: PaddedLists, descending: bool) -> SortedByRelevance:
    """Sort the documents of each query by relevance."""
    key, order = lists.fill_padding(lists.relevance_QL, -1).sort(dim=1, descending=descending)
    grade = F.pad((key[:, 1:] != key[:, :-1]).cumsum(1), (1, 0))
    return SortedByRelevance(order, lists.mask_QL.gather(1, order), grade, find_runs(grade))


def find_runs(number_QL: Tensor) -> Runs:
    """Find the runs of integers from 0 to L − 1 that do not decrease along the list."""
    size = torch.zeros_like(number_QL).scatter_add_(1, number_QL, torch.ones_like(number_QL))
    end = size.cumsum(1).gather(1, number_QL)
    return Runs(end - size.gather(1, number_QL), end)


def count_pairs(by_grade: SortedByRelevance) -> Tensor:
    """Count each query's pairs of documents that differ in relevance; 1 where there is none."""
    num_equal_QL = (by_grade.runs.end_QL - by_grade.runs.start_QL).masked_fill(~by_grade.mask_QL, 0)
    return ((by_grade.mask_QL.sum(1).square() - num_equal_QL.sum(1)) // 2).clamp(min=1)
