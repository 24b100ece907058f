"""Reads the image of each row of a table: encoded bytes, a file's path, or one column per pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from lit_mlfund.data.preprocessing.features import Encoded
from lit_mlfund.data.preprocessing.images import (
    ImageStore,
    as_tensor,
    channel_statistics,
    read_images,
    resize_pixels,
)
from lit_mlfund.data.preprocessing.table_encoder import Encoder, Roles
from lit_mlfund.data.preprocessing.target import Target
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.read import require_columns
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.spec import Field
from lit_mlfund.data.serving.store import PointStore


@dataclass(frozen=True)
class ImageFeatures:
    """Locates the images of a table, and holds their shape and statistics in train.

    columns     one column of bytes (or of structs with the field `bytes`) or of paths; or one number per
                pixel, row by row, with the channels of a coloured pixel side by side
    shape       C, H, W
    mean, std   per channel, on the scale 0 … 255
    scale       factor that brings numbers to 0 … 255
    decoded     the table that this was fitted on and its pixels, cached as decoding is slow
    """

    columns: list[str]
    shape: tuple[int, int, int]
    mean: list[float]
    std: list[float]
    scale: float = 1.0
    decoded: tuple[Table, NDArray[np.uint8]] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def fit(cls, train: Table, image: str | None, size: int | None, roles: Roles) -> Self:
        """Fit on the training split.

        Args:
            image: the column of images; None searches for it, or takes all numeric columns without a role as pixels.
            size: side of the squares that all images are resized to; None keeps their size, if all have the same.

        Raises:
            DataError: no column of images, damaged images, or images of different sizes.
        """
        columns = [image] if image is not None else _find_columns(train, roles)
        shape = None if size is None else (size, size)
        scale = 1.0
        if _is_pixels(train, columns):
            values = _pixel_values(train, columns)
            scale = 255.0 if values.max() <= 1 else 1.0
            pixels = _as_images(train, columns, values, scale)
            pixels = pixels if shape is None else resize_pixels(pixels, shape)
        else:
            pixels = _decode(train, columns[0], shape)
        mean, std = channel_statistics(pixels)
        return cls(columns, pixels.shape[1:], mean, std, scale, decoded=(train, pixels))

    @property
    def fields(self) -> dict[str, Field]:
        """Describe the tensor of a batch, for `DataSpec.inputs`."""
        return {"image": Field("image", self.shape)}

    def transform(self, table: Table) -> Encoded:
        """Return pixels uint8 `[N, C, H, W]`, resized to the shape of train.

        Raises:
            DataError: damaged images, or pixels out of range.
        """
        if self.decoded is not None and self.decoded[0] is table:
            pixels = self.decoded[1]
        elif _is_pixels(table, self.columns):
            values = _pixel_values(table, self.columns)
            pixels = resize_pixels(_as_images(table, self.columns, values, self.scale), self.shape[1:])
        else:
            pixels = _decode(table, self.columns[0], self.shape[1:], self.shape[0])
        return Encoded({"image": torch.from_numpy(pixels)}, {}, {})

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, for a checkpoint."""
        return {
            "columns": self.columns,
            "shape": list(self.shape),
            "mean": self.mean,
            "std": self.std,
            "scale": self.scale,
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore the object from the result of `to_dict`."""
        return cls(**{**state, "shape": tuple(state["shape"])})


@dataclass(frozen=True)
class ImageEncoder(Encoder):
    """Encodes the target as in any table, and one image per row."""

    features: ImageFeatures  # type: ignore[assignment]  # has the members of a Preprocessor

    @classmethod
    def of(
        cls, train: Table, roles: Roles, *, image: str | None, size: int | None, positive: str | None = None
    ) -> Self:
        """Fit on the training split; raise as `Target.fit` and `ImageFeatures.fit` do."""
        target = Target.fit(train, roles.target, roles.task, positive)
        return cls(roles, ImageFeatures.fit(train, image, size, roles), target)

    def store(self, table: Table, labelled: bool = True, part: bool = False) -> tuple[ImageStore, Encoded]:
        """Encode the rows of `table`; without labels, the targets are 0."""
        store, encoded = super().store(table, labelled, part)
        assert isinstance(store, PointStore)  # a ranking has no such encoder
        mean, std = as_tensor(self.features.mean), as_tensor(self.features.std)
        return ImageStore(store.x, store.y, store.weight, store.index, mean, std), encoded

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore the object from the result of `to_dict`."""
        roles: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in state["roles"].items()
        }
        return cls(
            Roles(**roles), ImageFeatures.from_dict(state["features"]), Target.from_dict(state["target"])
        )


def _find_columns(table: Table, roles: Roles) -> list[str]:
    """Find the columns of images if none is named."""
    schema = table.frame.schema
    encoded = [name for name, dtype in schema.items() if dtype == pl.Binary or isinstance(dtype, pl.Struct)]
    if "image" in schema or len(encoded) == 1:
        return ["image"] if "image" in schema else encoded
    if encoded:
        names = ", ".join(encoded)
        raise DataError(f"{table.source}: which column has the images? Set data.image to one of {names}")
    taken = {*roles.required(labelled=True), *roles.exclude, roles.time}
    pixels = [name for name, dtype in schema.items() if dtype.is_numeric() and name not in taken]
    if not pixels:
        raise DataError(f"{table.source}: no column of images (bytes or paths), and none of pixels (numbers)")
    return pixels


def _is_pixels(table: Table, columns: list[str]) -> bool:
    require_columns(table.frame, columns, table.source)
    return len(columns) > 1 or table.frame.schema[columns[0]].is_numeric()


def _pixel_values(table: Table, columns: list[str]) -> NDArray[np.float32]:
    """Return pixel columns as `[N, P]`; raise a DataError for missing cells."""
    values = np.empty((len(table), len(columns)), dtype=np.float32)
    for position, name in enumerate(columns):
        values[:, position] = column = table.numbers(name)
        if np.isnan(column).any():
            raise table.error(name, "the pixel is missing", np.isnan(column))
    return values


def _as_images(
    table: Table, columns: list[str], values: NDArray[np.float32], scale: float
) -> NDArray[np.uint8]:
    """Reshape the values of pixel columns to `[N, C, H, W]`."""
    values = np.rint(values * scale)
    bad = (values < 0) | (values > 255)
    if bad.any():
        first = int(bad.any(axis=0).argmax())
        raise table.error(columns[first], f"a pixel must be in 0 … {255 / scale:g}", bad[:, first])
    for channels in (1, 3):
        side = math.isqrt(len(columns) // channels)
        if side * side * channels == len(columns):
            pixels = values.astype(np.uint8).reshape(len(values), side, side, channels)
            return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    raise DataError(
        f"{table.source}: {len(columns)} numeric columns are no square image of one or three channels; "
        "exclude others with data.exclude=[…], or name the column of images with data.image="
    )


def _decode(
    table: Table, column: str, shape: tuple[int, int] | None, channels: int | None = None
) -> NDArray[np.uint8]:
    series = table.frame[column]
    if isinstance(series.dtype, pl.Struct):  # as Hugging Face writes images
        if "bytes" not in (names := [part.name for part in series.dtype.fields]):
            raise DataError(f"{table.source}: column {column!r}: no field 'bytes' among {', '.join(names)}")
        series = series.struct.field("bytes")
    if series.dtype not in (pl.Binary, pl.String):
        raise DataError(
            f"{table.source}: column {column!r}: {series.dtype} where images belong (bytes or paths)"
        )
    if series.null_count():
        raise table.error(column, "the image is missing", series.is_null())
    sources = series.to_list()
    paths = series.dtype == pl.String
    names = sources if paths else [f"{table.source}: column {column!r}: row {row + 1}" for row in table.rows]
    return read_images(sources, names, shape, channels)
