"""Groups rows of documents into lists by query."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def group_rows(queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order rows so that those of a query are adjacent, queries in the order of their first row.

    Args:
        queries: `[N]`, one code per row; the rows of a query need not be adjacent.

    Returns:
        order `[N]` of the rows, and offsets `[Q + 1]` of the queries in that order.
    """
    _, first, codes = np.unique(queries, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    codes = rank[codes]
    return np.argsort(codes, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(codes))])


def standardize_within(values: Tensor, offsets: Tensor) -> Tensor:
    """Scale each column to mean 0 and deviation 1 within each query; 0 where a query has only one value.

    Args:
        values: `[N, F]`, the rows of a query adjacent.
        offsets: `[Q + 1]`.
    """
    lengths = offsets.diff()
    query = torch.repeat_interleave(torch.arange(len(lengths)), lengths)

    def mean(rows: Tensor) -> Tensor:
        sums = torch.zeros(len(lengths), rows.shape[1], dtype=torch.float64).index_add_(
            0, query, rows.double()
        )
        return (sums / lengths.clamp(min=1)[:, None])[query]

    centred = values - mean(values)
    deviation = mean(centred**2).sqrt()
    return torch.where(deviation > 1e-6, centred / deviation, 0).to(values.dtype)
