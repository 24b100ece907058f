"""Defines the base of retrieval data modules, which provide the corpus to search beyond their batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lit_mlfund.data.preprocessing.text import trim
from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.store import PairStore
from lit_mlfund.datamodules.base import DataModule

NEW = "new"  # name of the split that `new_loader` read last


class RetrievalDataModule(DataModule):
    """Serves pairs whose `item_id` is a row of the split's corpus; query q of a split is row q of its store.

    `split` is train, val, test or, after `new_loader`, new.
    """

    tasks = ("retrieval",)

    def __init__(self, *, batch_size: int, seed: int) -> None:
        super().__init__(batch_size=batch_size, seed=seed)
        self.new_store: PairStore | None = None

    def pairs(self, split: str) -> PairStore:
        """Return the store of a split."""
        store = self.new_store if split == NEW else self.stores.get(split)
        if not isinstance(store, PairStore):
            raise ValueError(f"there is no split {split!r}; choose from {', '.join(self.stores)}")
        return store

    def corpus(self, split: str) -> Inputs:
        """Return all candidate items of a split: tensors `[num_items, …]`, row i has `item_id` i."""
        return trim(self.pairs(split).item)

    def item_names(self, split: str) -> Sequence[str]:
        """Return the name of each row of the corpus."""
        raise NotImplementedError

    def seen(self, split: str) -> list[Tensor] | None:
        """Return for each query the `item_id`s to leave out (`exclude` of `metrics.positive_ranks`), or None."""
        return None

    def texts(self, split: str) -> tuple[list[str], list[str]] | None:
        """Return queries and corpus of a split as text, for a lexical reference; None if there is no text."""
        return None

    def popularity(self, split: str) -> Tensor | None:
        """Count the occurrences of each item of the corpus in train, `[num_items]`; None if items do not repeat."""
        return None

    def serve_pairs(self, store: PairStore) -> BatchLoader:
        """Return a loader of `store`, which becomes the split `new`."""
        self.new_store = store
        return BatchLoader(store, max(self.batch_size, self.eval_batch_size))


def placeholder_item_ids(size: int) -> Tensor:
    """Return zeros `[size]`, as `item_id` needs some value where the item of a query is not known."""
    return torch.zeros(size, dtype=torch.int64)
