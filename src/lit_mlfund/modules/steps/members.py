"""Trains models that are ensembles: by the mean of their members' losses."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor, nn

from lit_mlfund.data.serving.batch import ListBatch, PointBatch

BatchT = TypeVar("BatchT", PointBatch, ListBatch)


def training_outputs(model: nn.Module, batch: BatchT, **arguments: Any) -> tuple[Tensor, BatchT]:
    """Return the outputs of a batch whose loss is minimised, and the batch with their targets.

    A model with `num_members` k returns outputs `[k, B, …]` for `members=True`. Each member has the whole batch to
    learn, so they are lined up to `[k B, …]` beside k times the targets, weights and masks: every loss is a mean over
    examples, and over k times as many it is the mean of the members' losses.
    """
    members = getattr(model, "num_members", None)
    if members is None:
        return model(batch.x, **arguments), batch
    output = model(batch.x, members=True, **arguments)
    return output.flatten(0, 1), batch.without_inputs(members)
