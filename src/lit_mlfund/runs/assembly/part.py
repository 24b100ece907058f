"""Serves a part of the training rows of a data module: everything else is that of the whole."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import Tensor

from lit_mlfund.data.serving.mapped import Mapped
from lit_mlfund.data.serving.store import ListStore, PointStore
from lit_mlfund.datamodules import DataModule


def rows_problem(data: DataModule) -> str | None:
    """Return why training rows cannot be taken by number; None where they can."""
    store = data.stores["train"]
    if isinstance(store, Mapped) or not isinstance(store, (PointStore, ListStore)):
        return f"data: the training rows of {type(data).__name__} are no rows or lists in memory, which can be divided"
    return None


def part_of(data: DataModule, rows: Tensor) -> DataModule:
    """Return a data module that trains on some rows (queries, for lists), with the budget of that many.

    Preprocessing, validation and test rows remain those of `data`, which is not changed.

    Raises:
        ValueError: the rows cannot be taken by number (`rows_problem`).
    """
    store = data.stores["train"]
    if (problem := rows_problem(data)) is not None:
        raise ValueError(problem)
    assert isinstance(store, (PointStore, ListStore))
    part = sized_for(data, len(rows))
    part.stores["train"] = store.take(rows)
    return part


def sized_for(data: DataModule, num_rows: int) -> DataModule:
    """Return a data module with the same rows, and with the budget of `num_rows` training rows."""
    sized = copy.copy(data)
    sized.stores = dict(data.stores)
    sized.spec = replace(data.spec, num_train=num_rows)
    sized.size_batches()
    return sized
