"""Caches the encoded splits of a bundled table from one run to the next, in the user's folder of caches."""

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
from lit_mlfund.data.disk.cache import find, open_or_make, remove_others, user_cache_folder
from lit_mlfund.data.preprocessing.table_encoder import Encoder
from lit_mlfund.data.reading.file_watch import Signature
from lit_mlfund.data.serving.store import ListStore, PointStore

FILE = "splits.pt"
CODE = ("data", "datamodules")  # the folders of this package that decide what a row becomes


@dataclass(frozen=True)
class Splits:
    """Bundles the splits of a table in memory, the fitted encoder, and a summary in plain Python."""

    encoder: Encoder
    stores: dict[str, PointStore | ListStore]
    summary: dict[str, Any]


def cached_splits(
    name: str,
    files: Sequence[Path],
    options: dict[str, Any],
    make: Callable[[], Splits],
    encoder: Encoder | None = None,
) -> Splits:
    """Return cached splits of `files`, or call `make` where files, options or code changed.

    They are rebuilt when a file, an option, the code that reads and encodes, torch, numpy or polars changes; each
    time where nothing can be written; and where the cached encoder differs from `encoder`. The latest splits of each
    `name` are cached, older ones removed.
    """
    key = {
        "name": name,
        "files": [Signature.of(str(file)).to_dict() for file in files],
        "options": options,
        "code": _code_digest(),
        "versions": [torch.__version__, np.__version__, pl.__version__],
    }
    fresh: list[Splits] = []  # the splits, once `make` was called

    def write(folder: Path) -> dict[str, Any]:
        fresh.append(make())
        torch.save({split: _tensors(store) for split, store in fresh[0].stores.items()}, folder / FILE)
        return {"encoder": fresh[0].encoder.to_dict(), "summary": fresh[0].summary}

    try:
        root = user_cache_folder("splits")
        cache = open_or_make(root, name, key, write) if encoder is None else find(root, name, key)
        if cache is not None and not fresh:
            fitted = Encoder.from_dict(cache.content["encoder"])
            if encoder is None or fitted == encoder:
                saved = torch.load(cache.folder / FILE, mmap=True, weights_only=True)
                stores = {split: _store(tensors) for split, tensors in saved.items()}
                return Splits(fitted, stores, cache.content["summary"])
        if cache is not None and fresh:
            remove_others(root, cache.folder, lambda other: other["name"] == name)
    except OSError:
        pass
    return fresh[0] if fresh else make()


def _code_digest() -> str:
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
