"""Reads tables, fits preprocessing on the training split and serves whole batches by index (no Lightning)."""

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.serving.batch import Batch, ListBatch, PairBatch, PointBatch
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import ListStore, PairStore, PointStore, Store

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
