"""Image files to one array of bytes, and the store that standardises it batch by batch."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_mlfund.data.batch import PointBatch
from lit_mlfund.data.errors import DataError
from lit_mlfund.data.store import PointStore

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
# How people name the folders of the three splits.
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class ImageFile(NamedTuple):
    """An image file, the class that its folder stands for, and its split (empty where none is given)."""

    path: str
    label: str
    split: str


@dataclass(frozen=True)
class ImageStore(PointStore):
    """A `PointStore` whose `x["image"] [N, C, H, W]` stays uint8; a batch of it is float32, standardised.

    mean, std `[C, 1, 1]` are on the scale 0 … 255: a quarter of the memory that float32 would take.
    """

    mean: Tensor | None = None
    std: Tensor | None = None

    def batch(self, index: Tensor) -> PointBatch:
        """The images at `index [B]`."""
        batch = super().batch(index)
        return replace(batch, x={"image": (batch.x["image"] - self.mean) / self.std})


def list_folder(path: str) -> list[ImageFile]:
    """The images under `path`, sorted: `path/<class>/*` or `path/{train,val,test}/<class>/*`.

    Raises DataError where there is no such folder, a class folder has no image, or there is only one class.
    """
    if not os.path.isdir(path):
        raise DataError(f"{path}: no such folder")
    parts = _split_folders(path) or {"": path}
    files: list[ImageFile] = []
    for split, folder in parts.items():
        for label in _subfolders(folder):
            found = list(walk_images(os.path.join(folder, label)))
            if not found:
                raise DataError(f"{os.path.join(folder, label)}: no image in this class folder ({_known()})")
            files += [ImageFile(file, label, split) for file in found]
    classes = {file.label for file in files}
    if not classes:
        raise DataError(
            f"{path}: no folder per class in it (expected {os.path.join(path, '<class>', '*.png')})"
        )
    if len(classes) < 2:
        raise DataError(f"{path}: only one class folder, {classes.pop()!r}; a classifier needs two or more")
    return files


def walk_images(folder: str) -> Iterator[str]:
    """Paths of all image files in `folder` and below, sorted."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.join(where, name)


def read_images(
    sources: Sequence[str | bytes], names: Sequence[str], size: int | None, channels: int | None = None
) -> NDArray[np.uint8]:
    """Decode files or encoded bytes into `[N, C, H, W]`.

    size        side of the squares that all are resized to; None keeps them, if they are all of one size
    channels    1 or 3; None takes 1 if all images are grey, else 3
    names       what to call each source in a message

    Raises DataError that names what cannot be decoded or differs in size.
    """
    from PIL import Image

    def check(source: str | bytes) -> tuple[bool, tuple[int, int]] | None:
        try:
            with _open(source) as image:
                return image.mode in ("1", "L", "I", "I;16"), image.size
        except (OSError, ValueError, Image.DecompressionBombError):
            return None

    def decode(source: str | bytes) -> NDArray[np.uint8] | None:
        try:
            with _open(source) as image:
                return _pixels(image, size, channels or 3)
        except (OSError, ValueError, SyntaxError):  # Pillow says SyntaxError of a broken PNG
            return None

    def every(work, what: str) -> list:
        with ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
            results = list(pool.map(work, sources))
        bad = [name for name, result in zip(names, results) if result is None]
        if bad:
            raise DataError(f"{_several(bad)}: {what}")
        return results

    headers = every(check, "not an image that Pillow can open")
    if size is None and len({shape for _, shape in headers}) > 1:
        sizes = [f"{names[i]} is {w}×{h}" for i, (w, h) in _one_of_each([shape for _, shape in headers])]
        raise DataError(
            f"images differ in size ({'; '.join(sizes)}); set data.size=64 or another common side"
        )
    if channels is None:
        channels = 1 if all(grey for grey, _ in headers) else 3
    return np.stack(every(decode, "a damaged image"))


def _open(source: str | bytes) -> Image.Image:
    from PIL import Image

    return Image.open(source if isinstance(source, str) else io.BytesIO(source))


def _pixels(image: Image.Image, size: int | None, channels: int) -> NDArray[np.uint8]:
    """`[C, H, W]` of one image."""
    from PIL import Image, ImageOps

    mode = "L" if channels == 1 else "RGB"
    if size is not None:
        image.draft(mode, (2 * size, 2 * size))  # a JPEG decoder can leave out what would be averaged away
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits: `convert` would cut at 255
        image = Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().astype(np.uint8))
    image = image.convert(mode)
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def channel_statistics(pixels: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel of `[N, C, H, W]`, from counts of the 256 values."""
    mean, std = [], []
    for channel in range(pixels.shape[1]):
        count = np.bincount(pixels[:, channel].ravel(), minlength=256)
        values = np.arange(256)
        centre = (count * values).sum() / count.sum()
        mean.append(float(centre))
        std.append(float(np.sqrt((count * (values - centre) ** 2).sum() / count.sum())) or 1.0)
    return mean, std


def as_tensor(statistic: Sequence[float]) -> Tensor:
    """Per-channel numbers as `[C, 1, 1]`."""
    return torch.tensor(statistic, dtype=torch.float32)[:, None, None]


def _subfolders(folder: str) -> list[str]:
    return sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
    )


def _split_folders(path: str) -> dict[str, str]:
    """Folder of each split, if `path` is divided that way."""
    names = {name.lower(): name for name in _subfolders(path)}
    found = {
        split: os.path.join(path, names[alias])
        for split, aliases in SPLIT_FOLDERS.items()
        for alias in aliases
        if alias in names
    }
    return found if "train" in found and len(found) > 1 else {}


def _known() -> str:
    return " ".join(f"*{suffix}" for suffix in SUFFIXES)


def _several(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f", … ({len(names)} in all)" if len(names) > limit else "")


def _one_of_each(shapes: Sequence[tuple[int, int]], limit: int = 3) -> list[tuple[int, tuple[int, int]]]:
    first = {shape: i for i, shape in reversed(list(enumerate(shapes)))}
    return sorted((i, shape) for shape, i in first.items())[:limit]
