"""Splits the expected loss of a training procedure into noise, bias and variance."""

from lit_mlfund.diagnostics.decomposition.convex import (
    Parts,
    cross_entropy,
    listnet,
    pairwise,
    squared_error,
)
from lit_mlfund.diagnostics.decomposition.zero_one import zero_one

__all__ = ["Parts", "cross_entropy", "listnet", "pairwise", "squared_error", "zero_one"]
