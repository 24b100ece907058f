"""Holds what an evaluation keeps of its batches: one small dataclass of tensors per kind of example.

Every tensor has the examples along its first dimension, so outputs of batches, and of processes, are joined the same
way whatever they hold. A task from outside subclasses `Outputs`, or uses one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from lit_mlfund.data.serving.batch import concatenate

Losses = list[tuple[float, int]]  # mean loss of a batch, and the number of examples it is the mean of
OutputsT = TypeVar("OutputsT", bound="Outputs")


@dataclass
class Outputs:
    """Holds the outputs of examples that were evaluated, and their targets.

    output  what the model says, in the form that the metrics of the task take
    target  what is true
    """

    output: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.output)

    @property
    def num_losses(self) -> int:
        """Return the number of examples that the mean loss of these outputs is taken over."""
        return len(self)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are there, by name."""
        named = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in named.items() if value is not None}

    def cpu(self) -> Self:
        """Return the same outputs in the memory of the CPU."""
        return replace(self, **{name: value.cpu() for name, value in self.tensors().items()})

    def take(self, index: Tensor) -> Self:
        """Return the examples at `index`."""
        return replace(self, **{name: value[index] for name, value in self.tensors().items()})

    def with_flat_output(self, output: Tensor) -> Self:
        """Return the same examples with another `output`, given one value after the other without padding."""
        return replace(self, output=output.to(self.output.device))

    def flat_target(self) -> Tensor:
        """Return the targets one after the other, without padding, on the CPU."""
        return self.target.cpu()

    def flat_rows(self) -> Tensor | None:
        """Return where each of `flat_target` stands in the file, from 0; None where that is not known."""
        return None

    def file_order(self) -> Tensor | None:
        """Return the order that puts flat values into that of the file; None where they are in it."""
        return None

    def row_columns(self) -> dict[str, Any]:
        """Return the columns of a table of predictions that say which example a row is."""
        rows = self.flat_rows()
        return {} if rows is None else {"row": rows.numpy()}


@dataclass
class PointOutputs(Outputs):
    """Holds outputs of single rows: `output [B]` or `[B, K]`, `target [B]`, `weight [B]`, `index [B]` in the file."""

    weight: Tensor | None = None
    index: Tensor | None = None

    def flat_rows(self) -> Tensor | None:
        return None if self.index is None else self.index.cpu()


@dataclass
class ListOutputs(Outputs):
    """Holds outputs of padded lists: `output`, `target`, `mask [Q, L]`, True where an entry is real.

    row    `[Q, L]` place of each entry in the file plus one, so that the zeros of a wider padding stay no row
    index  `[Q]` the list that each is
    """

    mask: Tensor
    row: Tensor | None = None
    index: Tensor | None = None
    list_name = "query"  # what a list is called in a table of predictions

    def with_flat_output(self, output: Tensor) -> Self:
        mask = self.mask.cpu()
        padded = torch.zeros(mask.shape, dtype=output.dtype).masked_scatter(mask, output)
        return super().with_flat_output(padded)

    def flat_target(self) -> Tensor:
        return self.target[self.mask].cpu()

    def flat_rows(self) -> Tensor | None:
        return None if self.row is None else (self.row[self.mask] - 1).cpu()

    def file_order(self) -> Tensor | None:
        rows = self.flat_rows()
        return None if rows is None else rows.argsort()

    def row_columns(self) -> dict[str, Any]:
        if self.index is None:
            return super().row_columns()
        lists = self.index[:, None].expand_as(self.mask)[self.mask].cpu().numpy()
        return {self.list_name: lists, **super().row_columns()}


@dataclass
class TokenOutputs(ListOutputs):
    """Holds outputs of windows of a text, a token each: `output` is the log-probability of the token that came.

    prediction  `[W, T]` the most probable token
    """

    prediction: Tensor = field(kw_only=True)
    list_name = "window"

    @property
    def num_losses(self) -> int:
        return int(self.mask.sum())


@dataclass
class PairOutputs(Outputs):
    """Holds outputs of queries: `output [B, D]` embeddings, `target [B]` the items that belong to them.

    query, index  `[B]` the query, and the row of the file
    rank          `[B]` where the item stands in the corpus, once the metrics have been computed
    """

    query: Tensor | None = None
    index: Tensor | None = None
    rank: Tensor | None = None

    def flat_rows(self) -> Tensor | None:
        return None if self.index is None else self.index.cpu()


def join(parts: Sequence[OutputsT]) -> OutputsT:
    """Return the outputs of several batches as one; lists are padded to the longest."""
    named = [part.tensors() for part in parts]
    return replace(parts[0], **{name: concatenate([part[name] for part in named]) for name in named[0]})


def over_processes(outputs: OutputsT | None, losses: Losses) -> tuple[OutputsT, Losses]:
    """Return what all processes collected, on each of them, in the order of the data.

    Raises:
        ValueError: nothing was collected anywhere.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        parts, gathered = [outputs], losses
    else:
        everyone: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(everyone, (None if outputs is None else outputs.cpu(), losses))
        parts, gathered = [part for part, _ in everyone], [pair for _, more in everyone for pair in more]
    return interleave(parts), gathered


def interleave(parts: Sequence[OutputsT | None]) -> OutputsT:
    """Return rows in the order of the data: process r of n was served the rows r, r + n, r + 2n, …"""
    present = [part for part in parts if part is not None]
    if not present:
        raise ValueError("nothing was evaluated: the loader had no batch")
    if len(parts) == 1:
        return present[0]
    sizes = [0 if part is None else len(part) for part in parts]
    places = torch.cat([torch.arange(size) * len(parts) + rank for rank, size in enumerate(sizes)])
    return join(present).take(places.argsort())
