"""Decomposes the losses of a task from what replicas returned for the test rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lit_mlfund.diagnostics.decomposition import (
    Parts,
    cross_entropy,
    listnet,
    pairwise,
    squared_error,
    zero_one,
)
from lit_mlfund.modules import BinaryModule, MulticlassModule, RankingModule, RegressionModule, TaskModule
from lit_mlfund.modules.outputs import ListOutputs, Outputs, PointOutputs

NO_DECOMPOSITION = "no decomposition into bias and variance; binary, multiclass, regression and ranking have"
LOSSES = {
    RegressionModule: ("squared_error",),
    BinaryModule: ("cross_entropy", "zero_one"),
    MulticlassModule: ("cross_entropy", "zero_one"),
    RankingModule: ("listnet", "pairwise"),
}


def loss_problem(module: TaskModule, noise: float | None) -> str | None:
    """Return why there is no decomposition, or none with this noise; None where there is one."""
    if not isinstance(module, tuple(LOSSES)):
        return f"task: {type(module).__name__} has {NO_DECOMPOSITION}"
    if noise is None or isinstance(module, RegressionModule):
        return None
    if not isinstance(module, BinaryModule):
        return f"decompose.noise: is for regression and binary tasks, not for {module.task}; leave it out"
    return None if noise < 0.5 else f"decompose.noise: a share of flipped labels is below 0.5, got {noise:g}"


def decompositions(
    module: TaskModule, outputs: Sequence[Outputs], num_starts: int, noise: float | None
) -> dict[str, Parts]:
    """Return loss -> its parts, from the outputs of all replicas on the same rows, those of a part side by side."""
    first = outputs[0]
    stacked = np.stack([output.output.double().numpy() for output in outputs])
    stacked = stacked.reshape(-1, num_starts, *stacked.shape[1:])
    target = first.target.cpu().numpy()
    if isinstance(first, ListOutputs):
        mask = first.mask.cpu().numpy()
        return {"listnet": listnet(stacked, target, mask), "pairwise": pairwise(stacked, target, mask)}
    assert isinstance(first, PointOutputs)
    weight = None if first.weight is None else first.weight.double().cpu().numpy()
    if isinstance(module, RegressionModule):
        return {"squared_error": squared_error(stacked, target, noise=noise, weight=weight)}
    label = stacked.argmax(-1) if stacked.ndim == 4 else (stacked > 0).astype(np.int64)
    return {
        "cross_entropy": cross_entropy(stacked, target, noise=_entropy(noise), weight=weight),
        "zero_one": zero_one(label, target, noise=noise, weight=weight),
    }


def _entropy(share: float | None) -> float | None:
    """Return the entropy of a label that is flipped with this probability."""
    if not share:
        return share
    return -share * math.log(share) - (1 - share) * math.log(1 - share)
