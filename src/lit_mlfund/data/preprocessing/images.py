"""Decodes image files into one array of bytes, and standardises it batch by batch in a store."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.serving.batch import PointBatch
from lit_mlfund.data.serving.store import PointStore

if TYPE_CHECKING:
    from PIL import Image

GREY = ("1", "L", "LA", "I", "I;16")  # Pillow's single-channel modes


@dataclass(frozen=True)
class ImageStore(PointStore):
    """Stores `x["image"] [N, C, H, W]` as uint8, and serves batches of it as standardised float32.

    It takes a quarter of the memory of float32. mean, std `[C, 1, 1]` are on the scale 0 … 255.
    """

    mean: Tensor = field(default_factory=lambda: torch.zeros(1, 1, 1))
    std: Tensor = field(default_factory=lambda: torch.ones(1, 1, 1))

    def batch(self, index: Tensor) -> PointBatch:
        """Return the images at `index [B]`."""
        batch = super().batch(index)
        return replace(batch, x={"image": (batch.x["image"] - self.mean) / self.std})


def read_images(
    sources: Sequence[str | bytes],
    names: Sequence[str],
    shape: tuple[int, int] | None = None,
    channels: int | None = None,
) -> NDArray[np.uint8]:
    """Decode files or encoded bytes into `[N, C, H, W]`.

    shape       height and width that all are resized to; None keeps their size, if all have the same
    channels    1 or 3; None takes 1 if all images are grey, else 3
    names       what to call each source in a message

    Raises a DataError that names the images that cannot be decoded or differ in size.
    """
    from PIL import Image

    unreadable = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)

    def map_images(function: Callable[[Image.Image], Any], problem: str) -> list[Any]:
        def attempt(source: str | bytes) -> Any:
            try:
                with Image.open(source if isinstance(source, str) else io.BytesIO(source)) as image:
                    return function(image)
            except unreadable:  # SyntaxError is what Pillow raises for a broken PNG
                return None

        with ThreadPoolExecutor() as pool:  # Pillow releases the GIL while it decodes
            results = list(pool.map(attempt, sources))
        bad = [name for name, result in zip(names, results) if result is None]
        if bad:
            shown = ", ".join(bad[:5]) + (f", … ({len(bad)} in all)" if len(bad) > 5 else "")
            raise DataError(f"{shown}: {problem}")
        return results

    headers = map_images(
        lambda image: (image.mode in GREY, _turned_size(image)), "cannot be opened as an image"
    )
    sizes = [size for _, size in headers]
    if shape is None:
        _refuse_sizes(sizes, names)
    num_channels = channels or (1 if all(grey for grey, _ in headers) else 3)
    pixels = map_images(lambda image: _pixels(image, shape, num_channels), "is damaged")
    _refuse_sizes(
        [part.shape[:0:-1] for part in pixels], names
    )  # a PNG may tell of its turn at its end alone
    return np.stack(pixels)


def _refuse_sizes(sizes: Sequence[tuple[int, ...]], names: Sequence[str]) -> None:
    """Raise a DataError for images of more than one width and height, with an example of each."""
    examples = dict(reversed(list(zip(sizes, names))))
    if len(examples) > 1:
        shown = [f"{name} is {width}×{height}" for (width, height), name in list(examples.items())[-3:]]
        raise DataError(
            f"images differ in size ({'; '.join(shown)}); resize them all with data.size=64 or another side"
        )


def _is_turned(image: Image.Image) -> bool:
    """Return whether EXIF says that the camera was held upright: height and width change places."""
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode all of it to look for more
        return False
    return image.getexif().get(0x0112) in (5, 6, 7, 8)


def _turned_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an image as it is shown."""
    return image.size[::-1] if _is_turned(image) else image.size


def _pixels(image: Image.Image, shape: tuple[int, int] | None, channels: int) -> NDArray[np.uint8]:
    """Return one image as `[C, H, W]`."""
    from PIL import Image, ImageOps

    mode = "L" if channels == 1 else "RGB"
    if shape is not None:  # a JPEG decoder can skip detail that would be averaged away
        size = (2 * shape[1], 2 * shape[0])
        image.draft(mode, size[::-1] if _is_turned(image) else size)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits: `convert` would clip at 255
        image = Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().astype(np.uint8))
    return _resize(image.convert(mode), shape)


def _resize(image: Image.Image, shape: tuple[int, int] | None) -> NDArray[np.uint8]:
    from PIL import Image

    if shape is not None and image.size != shape[::-1]:
        image = image.resize(shape[::-1], Image.Resampling.BILINEAR)
    pixels = np.array(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def resize_pixels(pixels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize `[N, C, H, W]` to height and width `shape`."""
    from PIL import Image

    if pixels.shape[2:] == shape:
        return pixels
    flat = [pixel[0] if len(pixel) == 1 else pixel.transpose(1, 2, 0) for pixel in pixels]
    return np.stack([_resize(Image.fromarray(np.ascontiguousarray(part)), shape) for part in flat])


def channel_statistics(pixels: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel of `[N, C, H, W]`, from counts of the 256 values."""
    mean, std = [], []
    for channel in range(pixels.shape[1]):
        count = np.bincount(pixels[:, channel].ravel(), minlength=256)
        values = np.arange(256)
        centre = (count * values).sum() / count.sum()
        mean.append(float(centre))
        std.append(float(np.sqrt((count * (values - centre) ** 2).sum() / count.sum())) or 1.0)
    return mean, std


def as_tensor(statistic: Sequence[float]) -> Tensor:
    """Return per-channel numbers as `[C, 1, 1]`."""
    return torch.tensor(statistic, dtype=torch.float32)[:, None, None]
