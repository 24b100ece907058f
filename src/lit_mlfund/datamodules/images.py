"""Reads images of the user: a folder per class, or a table with a column of images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl

from lit_mlfund.data.preprocessing.features import Encoded
from lit_mlfund.data.preprocessing.image_features import ImageEncoder
from lit_mlfund.data.preprocessing.image_folders import (
    describe_left_out,
    left_out,
    read_folder,
    split_folders,
)
from lit_mlfund.data.preprocessing.target import infer_task
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.frames import Source, is_frame
from lit_mlfund.data.reading.read import require_columns
from lit_mlfund.data.reading.scan import Scan
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import Task
from lit_mlfund.datamodules.table import TableDataModule


class ImagesDataModule(TableDataModule):
    """Reads a folder per class with PNG, JPEG, BMP or WebP files, or a table of images.

    Folders are `path/<class>/*.png`, or `path/{train,val,test}/<class>/*.png`, whose splits are used as they are. In
    a table, images are a column of encoded bytes, of paths (relative to the table's folder), or one column per pixel.
    Pixels are standardised by the mean and standard deviation of each channel in train.

    Args:
        path: the folder or table.
        target: the column of labels; for a folder, the name for them.
        image: the column of images; None finds it: `image`, the only column of bytes, or all numbers as pixels.
        size: side of the squares that images are resized to; None leaves them as they are, if all are of one size.
        group, val_path, test_path, val_fraction, test_fraction, split_seed, positive, exclude: as in
            `TableDataModule`.
    """

    tasks = ("binary", "multiclass", "regression")
    inputs = ("image",)
    encoder_type = ImageEncoder
    eval_batch_size = 1024

    def __init__(
        self,
        path: Source,
        *,
        target: str = "label",
        task: str | None = None,
        batch_size: int = 64,
        seed: int = 0,
        image: str | None = None,
        size: int | None = None,
        group: str | None = None,
        val_path: Source | None = None,
        test_path: Source | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        positive: str | None = None,
        exclude: list[str] | tuple[str, ...] = (),
    ) -> None:
        if task is not None and task not in self.tasks:
            raise ValueError(f"data=images serves {', '.join(self.tasks)}; got task={task}")
        if size is not None and size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        self.image = image
        self.size = size
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            task=task,
            path=path,
            target=target,
            group=group,
            val_path=val_path,
            test_path=test_path,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            positive=positive,
            exclude=exclude,
            cache=None,
        )

    def scan_file(self, path: Source) -> Scan | None:
        if not is_frame(path) and os.path.isdir(path):
            frame = read_folder(path, self.roles.target)
            return Scan(
                path,
                lambda names, rows: frame.select(names).iter_slices(rows),
                frame.schema,
                cells=self.row_cells(),
            )
        scan = super().scan_file(path)
        if scan is None or scan.schema.get(self.image or "image") != pl.String:
            return scan
        resolve = partial(self._resolve_paths, path)
        return replace(scan, batches=lambda names, rows: map(resolve, scan.batches(names, rows)))

    def typed_columns(self) -> set[str | None]:
        return {self.roles.target}

    def new_pieces(self, path: Source, need_target: bool) -> Iterator[tuple[BatchLoader, pl.DataFrame]]:
        yield from super().new_pieces(path, need_target)
        if not is_frame(path) and os.path.isdir(path) and (count := left_out(path).total()):
            self.notes["left_out"] = count

    def row_cells(self) -> int:
        return math.prod(self.fitted.features.fields["image"].shape) // 2  # pixels of 4 bytes

    def infer_task(self, path: Source, target: str) -> Task:
        if is_frame(path) or not os.path.isdir(path):
            return super().infer_task(path, target)
        folder = split_folders(path).get("train", path)
        return infer_task(Table.of(read_folder(folder, target), folder), target)

    def read_file(self, path: Source) -> Table:
        if not is_frame(path) and os.path.isdir(path):
            return Table.of(read_folder(path, self.roles.target), path)
        table = super().read_file(path)
        require_columns(table.frame, [self.image], table.source)
        return Table.of(self._resolve_paths(path, table.frame), table.source)

    def _resolve_paths(self, path: Source, frame: pl.DataFrame) -> pl.DataFrame:
        """Resolve file names, if the column of images holds any, against the folder of the table."""
        column = self.image or "image"
        if is_frame(path) or frame.schema.get(column) != pl.String:
            return frame
        folder = os.path.dirname(os.path.abspath(path))
        paths = frame[column].map_elements(lambda name: os.path.join(folder, name), pl.String)
        return frame.with_columns(paths.alias(column))

    def read(self) -> dict[str, Table]:
        if not is_frame(self.path) and os.path.isdir(self.path):
            folders = split_folders(self.path)
            self.path = folders.pop("train", self.path)
            self.split_paths |= {
                split: folder for split, folder in folders.items() if self.split_paths[split] is None
            }
            num_classes = self.read_file(self.path).frame[self.roles.target].drop_nulls().n_unique()
            if num_classes < 2:
                what = "no folder per class" if num_classes == 0 else "one folder of images only"
                raise DataError(f"{self.path}: {what} in it; expected <class>/*.png for two classes or more")
        tables = super().read()
        for path in (self.path, *self.split_paths.values()):
            if path is not None and not is_frame(path) and os.path.isdir(path):
                self.remarks += describe_left_out(path)
        if self.encoder is None:
            self.encoder = ImageEncoder.of(
                tables["train"], self.roles, image=self.image, size=self.size, positive=self.positive
            )
        return tables

    def _summarize(self, tables: dict[str, Table], encoded: dict[str, Encoded]) -> dict[str, Any]:
        assert isinstance(self.encoder, ImageEncoder)
        features = self.encoder.features
        columns = features.columns if len(features.columns) == 1 else f"{len(features.columns)} of pixels"
        return {
            "rows": {split: len(table) for split, table in tables.items()},
            "columns": {"image": columns},
            "shape": list(features.shape),
            "target": {"column": self.roles.target, **self._describe_target()},
            "notes": list(self.remarks),
        }
