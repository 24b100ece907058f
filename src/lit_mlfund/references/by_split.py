"""Fits the reference models on a training store and predicts whole splits, mapped ones block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lit_mlfund.data.serving.mapped import SAMPLE_ROWS, Mapped, MappedListStore, MappedStore
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.data.serving.store import ListStore, PointStore, Store
from lit_mlfund.references.boosting import Boosting
from lit_mlfund.references.fit import Columns, point_references, ranking_references


def fitted_outputs(
    spec: DataSpec,
    stores: Mapping[str, Store],
    splits: Sequence[str],
    seed: int,
    boosting: Boosting | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Return reference -> split -> outputs, one for each row of the split's store, in its order.

    Of a split on disk, a random sample of `SAMPLE_ROWS` rows is used to fit.

    Args:
        spec: describes the data.
        stores: stores by split, including `train`, and `val` for the references that are stopped by it.
        splits: the splits to predict.
        seed: seed of the sample and of the references' random draws.
        boosting: gradient boosting that is fitted on these rows already.

    Raises:
        TypeError: the training store holds neither rows nor lists.
    """
    blocks = _Blocks({split: stores[split] for split in splits})
    train, val = (_in_memory(stores.get(split), seed) for split in ("train", "val"))
    if isinstance(train, PointStore):
        held_out = (val.x, val.y.numpy()) if isinstance(val, PointStore) else None
        outputs = point_references(spec, (_columns(train), train.y.numpy()), blocks, seed, boosting, held_out)
    elif isinstance(train, ListStore):
        outputs = ranking_references(spec, train, blocks, seed, val if isinstance(val, ListStore) else None)
    else:
        raise TypeError(f"no reference models for a {type(train).__name__}")
    return blocks.join(outputs)


def _in_memory(store: Store | None, seed: int) -> Store | None:
    """Return a store, or a random sample of one on disk."""
    if isinstance(store, (MappedStore, MappedListStore)):
        return store.sample(SAMPLE_ROWS, seed)
    return store


def _columns(store: PointStore | ListStore) -> Columns:
    """Return the inputs of a store, and of texts in place of token ids the texts themselves."""
    texts = getattr(store, "texts", None)
    return store.x if texts is None else {**store.x, "tokens": texts}


class _Blocks(Mapping[str, Columns]):
    """Maps a name for each block of the splits to its inputs, which are read on access."""

    def __init__(self, stores: Mapping[str, Any]):
        self.stores = stores
        self.starts = {
            f"{split} {start}": (split, start)
            for split, store in stores.items()
            for start in (range(0, store.num_rows, SAMPLE_ROWS) if isinstance(store, Mapped) else [0])
        }

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[str]:
        return iter(self.starts)

    def __getitem__(self, block: str) -> Columns:
        split, start = self.starts[block]
        store = self.stores[split]
        return store.inputs(start, start + SAMPLE_ROWS) if isinstance(store, Mapped) else _columns(store)

    def join(self, outputs: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
        """Return reference -> split -> outputs from reference -> block -> outputs."""
        joined: dict[str, dict[str, np.ndarray]] = {}
        for name, by_block in outputs.items():
            parts: dict[str, list[np.ndarray]] = {split: [] for split in self.stores}
            for block, (split, _) in self.starts.items():
                parts[split].append(by_block[block])
            joined[name] = {split: np.concatenate(arrays) for split, arrays in parts.items()}
        return joined
