"""Averages the predictions of a network with those of boosted trees, as one module that travels in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.references.trees import PROBABILITY_FLOOR, Trees

SHARES = (0.5, 0.25, 0.75, 0.0, 1.0)  # of the network; the first of equally good ones is chosen
CRITERIA = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}  # by which, on validation


class Blend(nn.Module):
    """Returns share · network + (1 − share) · trees, of probabilities or of values.

    Args:
        trees: the trees, fitted on the rows that the network was trained on.
        share: weight of the network, between 0 and 1.
    """

    def __init__(self, trees: Trees, share: float):
        super().__init__()
        if not 0 <= share <= 1:
            raise ValueError(f"the share of a blend is between 0 and 1, got {share}")
        self.trees = trees
        self.share = float(share)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], spec: DataSpec) -> Blend:
        """Build a blend from what a checkpoint holds; raise ValueError or LookupError where that is none."""
        return cls(Trees(spec, state["trees"]), state["share"])

    def state(self) -> dict[str, Any]:
        """Return share and trees as plain tensors and plain Python."""
        return {"share": self.share, "trees": self.trees.state()}

    def forward(self, output: Tensor, x: Inputs) -> Tensor:
        """Average the network's logits `[B]` or `[B, K]`, or its values `[B]`, with the trees' for the inputs `x`."""
        if self.share == 1:
            return output
        task = self.trees.spec.task
        return averaged(output, _as_output(self.trees(x), task), self.share, task).to(output.dtype)


def best_share(values: Mapping[float, float]) -> float:
    """Return the share with the smallest value; of equally good ones ½, or that next to it.

    >>> best_share({0.0: 0.3, 0.25: 0.2, 0.5: 0.2, 0.75: 0.3, 1.0: 0.4})
    0.5
    """
    return min(SHARES, key=lambda share: values[share])


def averaged(network: Tensor, trees: Tensor, share: float, task: str) -> Tensor:
    """Return logits of the averaged probabilities, or averaged values."""
    if share in (0, 1):
        return network if share else trees
    network, trees = network.double(), trees.double()
    if task == "binary":
        return _log_mean(logsigmoid(network), logsigmoid(trees), share) - _log_mean(
            logsigmoid(-network), logsigmoid(-trees), share
        )
    if task == "multiclass":
        return _log_mean(network.log_softmax(-1), trees.log_softmax(-1), share)
    return share * network + (1 - share) * trees


def _log_mean(network: Tensor, trees: Tensor, share: float) -> Tensor:
    """Return the logarithm of averaged probabilities from their logarithms, which cannot underflow."""
    return torch.logaddexp(network + math.log(share), trees + math.log(1 - share))


def _as_output(predicted: Tensor, task: str) -> Tensor:
    """Return what the trees predict in the form of a network's output, clipped like that of a reference."""
    if task == "regression":
        return predicted
    probability = predicted.clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return probability[:, 1].logit() if task == "binary" else probability.log()
