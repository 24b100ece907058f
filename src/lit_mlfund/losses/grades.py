"""A query's documents in order of relevance, and the runs of equal relevance in it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_mlfund.losses.arguments import Lists


class Runs(NamedTuple):
    """For each place of a list, where its run of equal numbers begins, and the first place behind it."""

    start_QL: Tensor
    end_QL: Tensor


class Graded(NamedTuple):
    """Documents by relevance, padding as the lowest.

    order_QL   which document stands in each place
    mask_QL    whether that one is real
    step_QL    changes of relevance up to there: 0 in the first run, 1 in the second, …
    runs       of equal relevance
    """

    order_QL: Tensor
    mask_QL: Tensor
    step_QL: Tensor
    runs: Runs


def by_relevance(lists: Lists, descending: bool) -> Graded:
    """The documents of each query by relevance."""
    key, order = lists.on_padding(lists.relevance_QL, -1).sort(dim=1, descending=descending)
    step = F.pad((key[:, 1:] != key[:, :-1]).cumsum(1), (1, 0))
    return Graded(order, lists.mask_QL.gather(1, order), step, runs(step))


def runs(number_QL: Tensor) -> Runs:
    """The runs of whole numbers from 0 to L − 1 that do not fall along the list."""
    size = torch.zeros_like(number_QL).scatter_add_(1, number_QL, torch.ones_like(number_QL))
    end = size.cumsum(1).gather(1, number_QL)
    return Runs(end - size.gather(1, number_QL), end)


def count_pairs(graded: Graded) -> Tensor:
    """Per query the number of pairs of documents that differ in relevance, or 1 where there is none."""
    num_alike_QL = (graded.runs.end_QL - graded.runs.start_QL).masked_fill(~graded.mask_QL, 0)
    return ((graded.mask_QL.sum(1).square() - num_alike_QL.sum(1)) // 2).clamp(min=1)
