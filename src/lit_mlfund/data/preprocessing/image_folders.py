"""Lists the images of a folder per class, and what else lies there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import polars as pl

from lit_mlfund.data.reading.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
# Common names of the folders of the three splits.
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def split_folders(path: str) -> dict[str, str]:
    """Return split -> folder if `path` has one for train and at least one more, else nothing."""
    names = {name.lower(): name for name in _subfolders(path)}
    folders = {
        split: os.path.join(path, names[alias])
        for split, aliases in SPLIT_FOLDERS.items()
        for alias in aliases
        if alias in names
    }
    return folders if "train" in folders and len(folders) > 1 else {}


def read_folder(path: str, label: str) -> pl.DataFrame:
    """List images, one row each, sorted: `image` is the path, `label` the folder in `path` that contains it.

    The label is null for images in `path` itself. Raises DataError for a folder without images.
    """
    rows: list[tuple[str, str | None]] = []
    for name in _subfolders(path):
        folder = os.path.join(path, name)
        files = list(_walk(folder))
        if not files:
            raise DataError(f"{folder}: no image in this folder ({', '.join(SUFFIXES)})")
        rows += [(file, name) for file in files]
    rows += [(os.path.join(path, name), None) for name in sorted(os.listdir(path)) if _is_image(name)]
    if not rows:
        raise DataError(f"{path}: no image in this folder ({', '.join(SUFFIXES)})")
    return pl.DataFrame(rows, schema={"image": pl.String, label: pl.String}, orient="row")


def left_out(path: str) -> Counter[str]:
    """Count what a folder has beside its images: files by their ending, hidden folders, and links to folders."""
    counts: Counter[str] = Counter()
    for directory, folders, names in os.walk(path):
        for name in list(folders):
            if name.startswith("."):
                counts["hidden folders"] += 1
                folders.remove(name)
            elif directory != path and os.path.islink(os.path.join(directory, name)):
                counts["linked folders"] += 1
        endings = [os.path.splitext(name)[1].lower() for name in names if not name.startswith(".")]
        counts.update(f"{ending or 'no ending'}" for ending in endings if not ending.endswith(SUFFIXES))
    return counts


def describe_left_out(path: str) -> list[str]:
    """Tell what of a folder is not read; nothing where all of it is."""
    counts = left_out(path)
    shown = ", ".join(f"{count} {what}" for what, count in counts.most_common(8))
    return [f"left out of {path}: {shown}; images are {', '.join(SUFFIXES)}"] if counts else []


def _subfolders(folder: str) -> list[str]:
    return sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
    )


def _walk(folder: str) -> Iterator[str]:
    """Yield the paths of the images in `folder` and below, sorted; hidden folders and links to others are left out."""
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(directory, name) for name in sorted(names) if _is_image(name))


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")
