"""Holds the outputs that an evaluation keeps of its batches: one dataclass of tensors per kind of example.

Every tensor has the examples along its first dimension, so outputs of batches, and of processes, are joined the same
way whatever they hold. A task of another package subclasses `Outputs`, or uses one of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from lit_mlfund.data.serving.batch import concatenate

Losses = list[tuple[float, int]]  # mean loss of a batch, and the number of examples it averages
OutputsT = TypeVar("OutputsT", bound="Outputs")


@dataclass
class Outputs:
    """Holds the outputs of examples that were evaluated, and their targets.

    output  predictions of the model, in the form that the metrics of the task need
    target  true values
    """

    output: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.output)

    @property
    def num_losses(self) -> int:
        """Return the number of examples over which the loss of these outputs is averaged."""
        return len(self)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are not None, by name."""
        named = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in named.items() if value is not None}

    def cpu(self) -> Self:
        """Return the same outputs in the memory of the CPU."""
        return replace(self, **{name: value.cpu() for name, value in self.tensors().items()})

    def take(self, index: Tensor) -> Self:
        """Return the examples at `index`."""
        return replace(self, **{name: value[index] for name, value in self.tensors().items()})

    def with_flat_output(self, output: Tensor) -> Self:
        """Return the same examples with another `output`, which is passed as flat values without padding."""
        return replace(self, output=output.to(self.output.device))

    def flat_target(self) -> Tensor:
        """Return the targets as flat values without padding, on the CPU."""
        return self.target.cpu()

    def flat_rows(self) -> Tensor | None:
        """Return the row of the file, from 0, of each value of `flat_target`; None if unknown."""
        return None

    def file_order(self) -> Tensor | None:
        """Return the permutation that sorts flat values by row of the file; None if they are sorted."""
        return None

    def digest(self) -> str:
        """Return what identifies these examples, their targets, weights and order, whatever was predicted."""
        digest = hashlib.blake2b(digest_size=16)
        weight = self.tensors().get("weight")
        told = {
            **self.row_columns(),
            "target": self.flat_target(),
            **({} if weight is None else {"weight": weight}),
        }
        for name, values in told.items():
            array = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
            kind = (
                np.float64 if array.dtype.kind == "f" else np.int64 if array.dtype.kind in "iub" else np.str_
            )
            wide = array.astype(kind)
            digest.update(f"{name}{wide.shape}".encode() + wide.tobytes())
        return digest.hexdigest()

    def row_columns(self) -> dict[str, Any]:
        """Return the columns of a table of predictions that identify the example of each row."""
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

    row    `[Q, L]` row of each entry in the file plus one, so that zeros from wider padding are not rows
    index  `[Q]` number of each list
    """

    mask: Tensor
    row: Tensor | None = None
    index: Tensor | None = None
    list_name = "query"  # column of a table of predictions that numbers the lists

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
    """Holds one output per token of windows of a text: `output` is the log-probability of the target token.

    prediction  `[W, T]` the most probable token
    """

    prediction: Tensor = field(kw_only=True)
    list_name = "window"

    @property
    def num_losses(self) -> int:
        return int(self.mask.sum())


@dataclass
class PairOutputs(Outputs):
    """Holds outputs of queries: `output [B, D]` embeddings, `target [B]` their positive items.

    query, index  `[B]` number of the query, and row of the file
    rank          `[B]` rank of the positive item in the corpus, after the metrics have been computed
    """

    query: Tensor | None = None
    index: Tensor | None = None
    rank: Tensor | None = None

    def flat_rows(self) -> Tensor | None:
        return None if self.index is None else self.index.cpu()


def join(parts: Sequence[OutputsT]) -> OutputsT:
    """Concatenate the outputs of several batches; lists are padded to the longest."""
    named = [part.tensors() for part in parts]
    return replace(parts[0], **{name: concatenate([part[name] for part in named]) for name in named[0]})


def over_processes(outputs: OutputsT | None, losses: Losses) -> tuple[OutputsT, Losses]:
    """Gather the outputs and losses of all processes on each of them, in the order of the data.

    Raises:
        ValueError: no process collected anything.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        parts, all_losses = [outputs], losses
    else:
        by_rank: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(by_rank, (None if outputs is None else outputs.cpu(), losses))
        parts, all_losses = [part for part, _ in by_rank], [pair for _, pairs in by_rank for pair in pairs]
    return interleave(parts), all_losses


def interleave(parts: Sequence[OutputsT | None]) -> OutputsT:
    """Restore the order of the data: process r of n has the rows r, r + n, r + 2n, …."""
    present = [part for part in parts if part is not None]
    if not present:
        raise ValueError("nothing was evaluated: the loader had no batch")
    if len(parts) == 1:
        return present[0]
    sizes = [0 if part is None else len(part) for part in parts]
    positions = torch.cat([torch.arange(size) * len(parts) + rank for rank, size in enumerate(sizes)])
    return join(present).take(positions.argsort())
