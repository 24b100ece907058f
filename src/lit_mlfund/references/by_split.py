"""Fits the reference models on a training store and predicts whole splits, mapped ones block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.mapped import SAMPLE_ROWS, Mapped, MappedListStore, MappedStore
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.data.serving.store import ListStore, PointStore, Store
from lit_mlfund.references.fit import point_references, ranking_references


def fitted_outputs(
    spec: DataSpec, stores: Mapping[str, Store], splits: Sequence[str], seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return reference -> split -> outputs, one for each row of the split's store, in its order.

    Of a training split on the disk, `SAMPLE_ROWS` rows drawn at random are fitted on.

    Args:
        spec: of the data.
        stores: by split, `train` among them.
        splits: those to predict.
        seed: of the sample and of what the references draw.

    Raises:
        TypeError: the training store holds neither rows nor lists.
    """
    train = stores["train"]
    blocks = _Blocks({split: stores[split] for split in splits})
    if isinstance(train, (MappedStore, MappedListStore)):
        train = train.sample(SAMPLE_ROWS, seed)
    if isinstance(train, PointStore):
        outputs = point_references(spec, (train.x, train.y.numpy()), blocks, seed)
    elif isinstance(train, ListStore):
        outputs = ranking_references(spec, train, blocks, seed)
    else:
        raise TypeError(f"no reference models for a {type(train).__name__}")
    return blocks.join(outputs)


class _Blocks(Mapping[str, Inputs]):
    """Maps a name for each block of the splits to its inputs, which are read when they are asked for."""

    def __init__(self, stores: Mapping[str, Any]):
        self.stores = stores
        self.places = {
            f"{split} {start}": (split, start)
            for split, store in stores.items()
            for start in (range(0, store.num_rows, SAMPLE_ROWS) if isinstance(store, Mapped) else [0])
        }

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __getitem__(self, block: str) -> Inputs:
        split, start = self.places[block]
        store = self.stores[split]
        return store.inputs(start, start + SAMPLE_ROWS) if isinstance(store, Mapped) else store.x

    def join(self, outputs: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
        """Return reference -> split -> outputs from reference -> block -> outputs."""
        joined: dict[str, dict[str, np.ndarray]] = {}
        for name, by_block in outputs.items():
            parts: dict[str, list[np.ndarray]] = {split: [] for split in self.stores}
            for block, (split, _) in self.places.items():
                parts[split].append(by_block[block])
            joined[name] = {split: np.concatenate(arrays) for split, arrays in parts.items()}
        return joined
