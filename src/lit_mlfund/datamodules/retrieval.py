"""What evaluation and serving ask of a retrieval data module beyond its batches: the corpus to search."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lit_mlfund.data.preprocessing.text import trim
from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.store import PairStore
from lit_mlfund.datamodules.base import DataModule

NEW = "new"  # the split of the file that `new_loader` read last


class RetrievalDataModule(DataModule):
    """Pairs whose `item_id` is a row of the split's corpus; query q of a split is row q of its store.

    `split` is train, val, test or, after `new_loader`, new.
    """

    tasks = ("retrieval",)

    def __init__(self, *, batch_size: int, seed: int) -> None:
        super().__init__(batch_size=batch_size, seed=seed)
        self.new_store: PairStore | None = None

    def pairs(self, split: str) -> PairStore:
        """The store of a split."""
        store = self.new_store if split == NEW else self.stores.get(split)
        if not isinstance(store, PairStore):
            raise ValueError(f"there is no split {split!r}; there are {', '.join(self.stores)}")
        return store

    def corpus(self, split: str) -> Inputs:
        """All candidate items of a split: tensors `[num_items, …]`, row i has `item_id` i."""
        return trim(self.pairs(split).item)

    def item_names(self, split: str) -> Sequence[str]:
        """What each row of the corpus is called."""
        raise NotImplementedError

    def seen(self, split: str) -> list[Tensor] | None:
        """Per query the `item_id`s that it must not be shown (`exclude` of `metrics.positive_ranks`)."""
        return None

    def texts(self, split: str) -> tuple[list[str], list[str]] | None:
        """Queries and corpus of a split as text, for a lexical reference; None where there is no text."""
        return None

    def popularity(self, split: str) -> Tensor | None:
        """How often each item of the corpus occurs in train `[num_items]`; None where items do not repeat."""
        return None

    def serve_pairs(self, store: PairStore) -> BatchLoader:
        """A loader of `store`, which becomes the split new."""
        self.new_store = store
        return BatchLoader(store, max(self.batch_size, self.eval_batch_size))


def no_items(size: int) -> Tensor:
    """The `item_id [size]` of queries whose item is not known: zeros, as the place has to hold something."""
    return torch.zeros(size, dtype=torch.int64)
