"""Decides whether the rows of a store are held on the GPU, where serving them costs no copy per batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from lit_mlfund.data.serving.batch import Movable

HELD_SHARE = 0.25  # of the free memory of a GPU that one split may take: the rest is the training's


def held_on(store: object, device: torch.device) -> torch.device | None:
    """Return `device` if it is a GPU and the store, in memory today, fits into `HELD_SHARE` of what is free there.

    A store that is read from disk (it has a `block`) stays there: it may be larger than it seems to be, and a store
    of a class that cannot be moved stays where it is.
    """
    if device.type != "cuda" or not isinstance(store, Movable) or hasattr(store, "block"):
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return device if num_bytes(store) <= HELD_SHARE * free else None


def num_bytes(store: Movable) -> int:
    """Return the bytes of all tensors of a store."""
    return sum(_num_bytes(getattr(store, field.name)) for field in dataclasses.fields(store))


def _num_bytes(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_num_bytes, value.values()))
    return value.nbytes if isinstance(value, Tensor) else 0
