"""Splits the expected loss of a configuration into noise, bias and variance, over replicas of its training."""

from lit_mlfund.sweeps.decompose.decomposed_plan import DecomposedPlan

__all__ = ["DecomposedPlan"]
