"""Defines the base of data modules: stores for three splits, a spec for the model, a state for the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import torch
from lightning.pytorch import LightningDataModule

from lit_mlfund.data.reading.file_watch import Watch
from lit_mlfund.data.reading.frames import Source
from lit_mlfund.data.serving.batch import Batch, Inputs, ListBatch, PointBatch
from lit_mlfund.data.serving.budget import Budget
from lit_mlfund.data.serving.chunks import Chunks
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.placement import held_on
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.data.serving.store import PointStore, Store

# Limits of an evaluation batch of a table with few columns: rows so small cost less than the loop around them.
NARROW_ROWS, NARROW_BYTES = 2**14, 2**21
MAX_DOCUMENTS = 2**16  # in an evaluation batch of lists, padding included
MAX_PIXELS = 2**22  # in an evaluation batch of images


class DataModule(LightningDataModule):
    """Serves three splits of one data set; a subclass implements `build`, `preprocessing` and `restore`.

    `setup()` provides `spec`, `summary` (plain Python: rows per split, columns by kind, missing cells, notes),
    `stores` by split, and the loaders. Everything fitted on the training split is in `state_dict()`, in plain
    Python; after `load_state_dict(state)` alone, `new_loader(path, …)` serves a new file of the same kind.
    """

    tasks: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    takes_frames = True  # accepts new rows as a polars or pandas frame, not only as a file
    split_by: str = (
        "rows"  # what the splits follow: rows at random, time, group, or files (or a column) of their own
    )
    eval_batch_size = 4096  # large, as there is no backward pass; smaller for large examples

    spec: DataSpec

    def __init__(self, *, batch_size: int | None, seed: int = 0) -> None:
        super().__init__()
        self.batch_size = batch_size or 1
        self.batch_by_rows = batch_size is None  # `Budget` has the size once the rows are known
        self.seed = seed
        self.stores: dict[str, Store] = {}
        self.summary: dict[str, Any] = {}
        self.notes: dict[str, int | str] = {}  # counts by `new_loader`: unknown categories, imputed cells
        self.watch = Watch()  # for changes of the files that were read

    # --- implemented by subclasses --------------------------------------------------------------------

    def build(self) -> None:
        """Read and split; fit the preprocessing on train unless it was restored; set spec, summary and stores."""
        raise NotImplementedError

    def preprocessing(self) -> dict[str, Any]:
        """Return the state that was fitted on the training split, in plain Python and tensors."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the fitted state that `preprocessing` returned."""
        raise NotImplementedError

    def new_loader(self, path: Source, need_target: bool) -> tuple[BatchLoader, pl.DataFrame]:
        """Return the rows of a new file, in order: as a loader of batches, and as the frame that was read.

        Without `need_target` the labels may be missing; batches then hold zeros in their place. `notes`
        counts the unknown categories and the imputed cells.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot read a new file")

    def new_pieces(self, path: Source, need_target: bool) -> Iterator[tuple[BatchLoader, pl.DataFrame]]:
        """Yield the same as `new_loader` for one piece of the file after another, if it may be larger than memory.

        Where predictions do not stand beside the rows, as in retrieval, only the heights of the frames matter. `notes`
        are complete after the last piece.
        """
        yield self.new_loader(path, need_target)

    # --- serving --------------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        """Build all splits, unless that has been done."""
        if not self.stores:
            self.build()
        self.size_batches()

    def size_batches(self) -> None:
        """Set the batch size to that of the `Budget` unless one was given."""
        if self.batch_by_rows:
            self.batch_size = Budget.of(self.spec).batch_size

    def train_dataloader(self) -> BatchLoader | Chunks:
        """Return shuffled batches of `batch_size`; in fixed order when the trainer overfits a few batches.

        A module that takes several steps per call receives them in tuples of `steps_per_call`.
        """
        store = self._split("train")
        shuffle = not (self.trainer and self.trainer.overfit_batches)  # type: ignore[attr-defined]
        loader = BatchLoader(
            store,
            self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            lengths=getattr(store, "lengths", None),
            block=getattr(store, "block", None),
            **self._placement(store),
        )
        steps = getattr(self.trainer and self.trainer.lightning_module, "steps_per_call", 1)
        return loader if steps == 1 else Chunks(loader, steps)

    def val_dataloader(self) -> BatchLoader:
        """Return the validation split in order."""
        return self.loader("val")

    def test_dataloader(self) -> BatchLoader:
        """Return the test split in order."""
        return self.loader("test")

    def predict_dataloader(self) -> BatchLoader:
        """Return the test split in order."""
        return self.loader("test")

    def loader(self, split: str, batch_size: int | None = None) -> BatchLoader:
        """Return a split in the order of its store, in large batches; each rank serves its own rows."""
        return self.serve(self._split(split), batch_size)

    def serve(self, store: Store, batch_size: int | None = None) -> BatchLoader:
        """Return the rows of a store in order, in batches as large as evaluation allows."""
        size = max(self.batch_size, self.eval_batch_size)
        if isinstance(store, PointStore) and store.x.keys() <= {"numeric", "categorical"}:
            row_bytes = sum(values[:1].nbytes for values in store.x.values())
            size = max(size, min(NARROW_ROWS, NARROW_BYTES // max(row_bytes, 1)))
        if isinstance(store, PointStore) and "image" in store.x:
            size = max(self.batch_size, min(size, MAX_PIXELS // store.x["image"].shape[1:].numel()))
        if (lengths := getattr(store, "lengths", None)) is not None:
            size = max(1, min(size, MAX_DOCUMENTS // max(int(lengths.max()), 1)))
        block = getattr(store, "block", None)
        return BatchLoader(store, batch_size or size, block=block, **self._placement(store))

    def whole(self, split: str) -> Batch:
        """Return a split as one batch, in the order of its store, for the reference models."""
        store = self._split(split)
        return store.batch(torch.arange(len(store)))

    def training_inputs(self, most: int = 2**15) -> Inputs:
        """Return the inputs `[N, …]` of up to `most` training rows, or queries' rows, drawn with a fixed seed."""
        store = self._split("train")
        index = torch.arange(len(store))
        if len(store) > most:
            index = (
                torch.randint(len(store), (most,), generator=torch.Generator().manual_seed(0)).sort().values
            )
        batch = store.batch(index)
        if isinstance(batch, ListBatch):
            return {name: values[batch.mask] for name, values in batch.x.items()}
        return batch.x if isinstance(batch, PointBatch) else batch.query

    # --- checkpoints ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the spec and the fitted preprocessing."""
        return {"spec": self.spec.to_dict(), "preprocessing": self.preprocessing()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint; stores that were built with a different one are rebuilt."""
        stale = bool(self.stores) and state_dict != self.state_dict()
        self.spec = DataSpec.from_dict(state_dict["spec"])
        self.restore(state_dict["preprocessing"])
        if stale:
            self.build()

    def _split(self, split: str) -> Store:
        if split not in self.stores:
            raise ValueError(f"split must be one of {', '.join(self.stores)}, got {split!r}")
        return self.stores[split]

    def _placement(self, store: Store) -> dict[str, Any]:
        """Return rank, number of processes and the GPU that holds the store, as keywords of `BatchLoader`."""
        trainer = self.trainer
        if trainer is None:
            return {}
        device = held_on(store, trainer.strategy.root_device) if torch.cuda.is_available() else None
        return {"rank": trainer.global_rank, "world_size": trainer.world_size, "device": device}
