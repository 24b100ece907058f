"""What every data module is: stores for three splits, a spec for the model, a state for the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import torch
from lightning.pytorch import LightningDataModule

from lit_mlfund.data.reading.file_watch import Watch
from lit_mlfund.data.reading.frames import Source
from lit_mlfund.data.serving.batch import Batch
from lit_mlfund.data.serving.chunks import Chunks
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.data.serving.store import PointStore, Store

# Of an evaluation batch of a table with few columns, which costs less than the loop around it.
NARROW_ROWS, NARROW_BYTES = 2**14, 2**21
MAX_DOCUMENTS = 2**16  # of an evaluation batch of lists, padding included
MAX_PIXELS = 2**22  # of an evaluation batch of images


class DataModule(LightningDataModule):
    """The base of our data modules; a subclass writes `build`, `preprocessing` and `restore`.

    After `setup()`: `spec`, `summary` (plain: rows per split, columns by kind, missing cells, notes),
    `stores` by split, and the loaders. What was fitted on the training split travels in `state_dict()`, in
    plain Python; after `load_state_dict(state)` alone, `new_loader(path, …)` serves a new file of its kind.
    """

    tasks: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    takes_frames = True  # new rows as a frame of polars or pandas, not only as a file
    eval_batch_size = 4096  # large blocks, as there is no backward pass; less for large examples

    spec: DataSpec

    def __init__(self, *, batch_size: int, seed: int = 0) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.seed = seed
        self.stores: dict[str, Store] = {}
        self.summary: dict[str, Any] = {}
        self.notes: dict[str, int | str] = {}  # what `new_loader` met: unknown categories, imputed cells
        self.watch = Watch()  # of the files that were read

    # --- what a subclass says -------------------------------------------------------------------------

    def build(self) -> None:
        """Read and split; fit the preprocessing on train unless restored; set spec, summary and stores."""
        raise NotImplementedError

    def preprocessing(self) -> dict[str, Any]:
        """What was fitted on the training split, in plain Python and tensors."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `preprocessing`."""
        raise NotImplementedError

    def new_loader(self, path: Source, need_target: bool) -> tuple[BatchLoader, pl.DataFrame]:
        """The rows of a new file, in order, as batches and as they were read.

        Without `need_target` the labels may be missing; batches then hold zeros in their place. `notes`
        counts the unknown categories and the imputed cells.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot read a new file")

    def new_pieces(self, path: Source, need_target: bool) -> Iterator[tuple[BatchLoader, pl.DataFrame]]:
        """As `new_loader`, one piece of the file after another where it may be larger than memory.

        Only as many rows of the frames count where predictions do not stand beside them, as in retrieval. `notes` are
        complete once the last piece was taken.
        """
        yield self.new_loader(path, need_target)

    # --- serving --------------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        """Build all splits, once."""
        if not self.stores:
            self.build()

    def train_dataloader(self) -> BatchLoader | Chunks:
        """Shuffled batches of `batch_size`; the same ones each epoch when the trainer overfits a few.

        A module that takes several steps a call gets them in tuples of `steps_per_call`.
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
            **self._ranks(),
        )
        steps = getattr(self.trainer and self.trainer.lightning_module, "steps_per_call", 1)
        return loader if steps == 1 else Chunks(loader, steps)

    def val_dataloader(self) -> BatchLoader:
        """The validation split in order."""
        return self.loader("val")

    def test_dataloader(self) -> BatchLoader:
        """The test split in order."""
        return self.loader("test")

    def predict_dataloader(self) -> BatchLoader:
        """The test split in order."""
        return self.loader("test")

    def loader(self, split: str, batch_size: int | None = None) -> BatchLoader:
        """A split in the order of its store, in large batches; each rank serves its own rows."""
        return self.serve(self._split(split), batch_size)

    def serve(self, store: Store, batch_size: int | None = None) -> BatchLoader:
        """A store in its order, in batches as large as evaluation can have them."""
        size = max(self.batch_size, self.eval_batch_size)
        if isinstance(store, PointStore) and store.x.keys() <= {"numeric", "categorical"}:
            row = sum(values[:1].nbytes for values in store.x.values())
            size = max(size, min(NARROW_ROWS, NARROW_BYTES // max(row, 1)))
        if isinstance(store, PointStore) and "image" in store.x:
            size = max(self.batch_size, min(size, MAX_PIXELS // store.x["image"].shape[1:].numel()))
        if (lengths := getattr(store, "lengths", None)) is not None:
            size = max(1, min(size, MAX_DOCUMENTS // max(int(lengths.max()), 1)))
        return BatchLoader(store, batch_size or size, block=getattr(store, "block", None), **self._ranks())

    def whole(self, split: str) -> Batch:
        """A split as one batch, in its order, for the reference models."""
        store = self._split(split)
        return store.batch(torch.arange(len(store)))

    # --- checkpoints ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The spec and the fitted preprocessing."""
        return {"spec": self.spec.to_dict(), "preprocessing": self.preprocessing()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a checkpoint; stores that were built with another one are built anew."""
        stale = bool(self.stores) and state_dict != self.state_dict()
        self.spec = DataSpec.from_dict(state_dict["spec"])
        self.restore(state_dict["preprocessing"])
        if stale:
            self.build()

    def _split(self, split: str) -> Store:
        if split not in self.stores:
            raise ValueError(f"split must be one of {', '.join(self.stores)}, got {split!r}")
        return self.stores[split]

    def _ranks(self) -> dict[str, Any]:
        trainer = self.trainer
        return {} if trainer is None else {"rank": trainer.global_rank, "world_size": trainer.world_size}
