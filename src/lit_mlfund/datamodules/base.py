"""What every data module is: stores for three splits, a spec for the model, a state for the checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from lightning.pytorch import LightningDataModule

from lit_mlfund.data.loader import BatchLoader
from lit_mlfund.data.spec import DataSpec
from lit_mlfund.data.store import Store

SPLITS = ("train", "val", "test")


class DataModule(LightningDataModule):
    """The base of our data modules; a subclass writes `build`, `preprocessing` and `restore`.

    After `setup()`: `spec`, `summary` (plain: rows per split, columns by kind, missing cells, notes),
    `stores` by split, and the loaders. What was fitted on the training split travels in `state_dict()`, in
    plain Python; after `load_state_dict(state)` alone, `new_loader(path, …)` serves a new file of the same kind.
    """

    tasks: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    eval_batch_size = (
        4096  # larger blocks where there is no backward pass; a subclass of large examples lowers it
    )

    spec: DataSpec

    def __init__(self, *, batch_size: int, seed: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.seed = seed
        self.stores: dict[str, Store] = {}
        self.summary: dict[str, Any] = {}
        self.notes: dict[str, int | str] = {}  # what `new_loader` met: unknown categories, imputed cells

    def build(self) -> None:
        """Read and split; fit the preprocessing on train unless restored; set spec, summary and stores."""
        raise NotImplementedError

    def preprocessing(self) -> dict[str, Any]:
        """What was fitted on the training split, in plain Python and tensors."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `preprocessing`."""
        raise NotImplementedError

    def new_loader(self, path: str, need_target: bool) -> tuple[BatchLoader, pl.DataFrame]:
        """The rows of a new file, in order, as batches and as they were read.

        Without `need_target` the labels may be missing; batches then hold zeros in their place. `notes`
        counts the unknown categories and the imputed cells.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot read a new file")

    def arrays(self, split: str) -> tuple[np.ndarray, ...]:
        """A split as arrays for the reference models.

        Returns features float32 [N, F] (NaN where missing, codes for categories), a bool [F] that is True for
        categorical columns, and the target [N]; for lists also offsets [Q + 1].
        """
        raise NotImplementedError(f"{type(self).__name__} has no table for the reference models")

    def setup(self, stage: str | None = None) -> None:
        """Build all splits, once."""
        if not self.stores:
            self.build()

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

    def loader(self, split: str, batch_size: int | None = None) -> BatchLoader:
        """A split in the order of its store, in large batches; each rank serves its own rows."""
        if split not in self.stores:
            raise ValueError(f"split must be one of {', '.join(self.stores) or SPLITS}, got {split!r}")
        size = batch_size or max(self.batch_size, self.eval_batch_size)
        return BatchLoader(self.stores[split], size, **self._ranks())

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of `batch_size`; always the same ones when the trainer overfits a few on purpose."""
        store = self.stores["train"]
        shuffle = not (self.trainer and self.trainer.overfit_batches)
        lengths = getattr(store, "lengths", None)
        return BatchLoader(
            store, self.batch_size, shuffle=shuffle, seed=self.seed, lengths=lengths, **self._ranks()
        )

    def val_dataloader(self) -> BatchLoader:
        """The validation split in order."""
        return self.loader("val")

    def test_dataloader(self) -> BatchLoader:
        """The test split in order."""
        return self.loader("test")

    def predict_dataloader(self) -> BatchLoader:
        """The test split in order."""
        return self.loader("test")

    def _ranks(self) -> dict[str, int]:
        trainer = self.trainer
        return {} if trainer is None else {"rank": trainer.global_rank, "world_size": trainer.world_size}
