"""Reads tables, fits preprocessing on the training split and serves whole batches by index (no Lightning).

The names below are imported when they are first used: reading a file needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_mlfund.data.reading.errors import DataError
    from lit_mlfund.data.serving.batch import Batch, ListBatch, PairBatch, PointBatch
    from lit_mlfund.data.serving.loader import BatchLoader
    from lit_mlfund.data.serving.spec import DataSpec, Field
    from lit_mlfund.data.serving.store import ListStore, PairStore, PointStore, Store

_MODULES = {
    "reading.errors": ("DataError",),
    "serving.batch": ("Batch", "ListBatch", "PairBatch", "PointBatch"),
    "serving.loader": ("BatchLoader",),
    "serving.spec": ("DataSpec", "Field"),
    "serving.store": ("ListStore", "PairStore", "PointStore", "Store"),
}

__all__ = [
    "Batch",
    "BatchLoader",
    "DataError",
    "DataSpec",
    "Field",
    "ListBatch",
    "ListStore",
    "PairBatch",
    "PairStore",
    "PointBatch",
    "PointStore",
    "Store",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
