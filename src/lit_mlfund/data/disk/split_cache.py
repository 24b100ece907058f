"""Encoded splits of a bundled table, kept from one run to the next in the user's folder of caches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import lit_mlfund
from lit_mlfund.data.disk.cache import find, open_or_make, own_folder, remove_others
from lit_mlfund.data.preprocessing.table_encoder import Encoder
from lit_mlfund.data.reading.file_watch import Signature
from lit_mlfund.data.serving.store import ListStore, PointStore

FILE = "splits.pt"
CODE = ("data", "datamodules")  # the folders of this package that decide what a row becomes


@dataclass(frozen=True)
class Splits:
    """The splits of a table in memory, the encoder that was fitted, and what is told of them in plain Python."""

    encoder: Encoder
    stores: dict[str, PointStore | ListStore]
    summary: dict[str, Any]


def kept_splits(
    name: str,
    files: Sequence[Path],
    options: dict[str, Any],
    make: Callable[[], Splits],
    encoder: Encoder | None = None,
) -> Splits:
    """What `make` makes of `files`, as it was made before where nothing has changed.

    It is made anew when a file, an option, the code that reads and encodes, torch, numpy or polars changes; each time
    where nothing can be written; and where it was fitted otherwise than `encoder`. Of each `name` the latest are kept.
    """
    key = {
        "name": name,
        "files": [Signature.of(str(file)).to_dict() for file in files],
        "options": options,
        "code": _code(),
        "versions": [torch.__version__, np.__version__, pl.__version__],
    }
    made: list[Splits] = []

    def write(folder: Path) -> dict[str, Any]:
        made.append(make())
        torch.save({split: _tensors(store) for split, store in made[0].stores.items()}, folder / FILE)
        return {"encoder": made[0].encoder.to_dict(), "summary": made[0].summary}

    try:
        root = own_folder("splits")
        cache = open_or_make(root, name, key, write) if encoder is None else find(root, name, key)
        if cache is not None and not made:
            fitted = Encoder.from_dict(cache.content["encoder"])
            if encoder is None or fitted == encoder:
                tensors = torch.load(cache.folder / FILE, mmap=True, weights_only=True)
                stores = {split: _store(held) for split, held in tensors.items()}
                return Splits(fitted, stores, cache.content["summary"])
        if cache is not None and made:
            remove_others(root, cache.folder, lambda other: other["name"] == name)
    except OSError:
        pass
    return made[0] if made else make()


def _code() -> str:
    package = Path(lit_mlfund.__file__).parent
    digest = hashlib.blake2b(digest_size=16)
    for folder in CODE:
        for file in sorted((package / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _tensors(store: PointStore | ListStore) -> dict[str, Any]:
    return {field.name: getattr(store, field.name) for field in fields(store)}


def _store(tensors: dict[str, Any]) -> PointStore | ListStore:
    return ListStore(**tensors) if "offsets" in tensors else PointStore(**tensors)
