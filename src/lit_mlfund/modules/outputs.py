"""What an evaluation keeps of its batches, joined over batches and over processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lit_mlfund.data.serving.batch import concatenate

Evidence = dict[str, Tensor]
Losses = list[tuple[float, int]]  # mean loss of a batch, and its number of examples


def join(parts: Iterable[Evidence]) -> Evidence:
    """Tensors of the same name one behind the other."""
    parts = list(parts)
    return {name: concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def over_processes(evidence: Evidence, losses: Losses) -> tuple[Evidence, Losses]:
    """What all processes collected, on each of them, in the order of the data."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return evidence, losses
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, ({k: v.cpu() for k, v in evidence.items()}, losses))
    return interleave([part for part, _ in parts]), [pair for _, more in parts for pair in more]


def interleave(parts: list[Evidence]) -> Evidence:
    """Rows in the order of the data: process r of n was served the rows r, r + n, r + 2n, …"""
    joined = join([part for part in parts if part])
    sizes = [len(next(iter(part.values()))) if part else 0 for part in parts]
    places = torch.cat([torch.arange(size) * len(parts) + rank for rank, size in enumerate(sizes)])
    order = places.argsort()
    return {name: value[order] for name, value in joined.items()}
