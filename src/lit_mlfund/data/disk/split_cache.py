"""Caches the encoded splits of a bundled table from one run to the next, in the user's folder of caches."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import lit_mlfund
from lit_mlfund.data.disk.cache import Cache, find, open_or_make, rebuild, remove_others, user_cache_folder
from lit_mlfund.data.preprocessing.table_encoder import Encoder
from lit_mlfund.data.reading.file_watch import Signature
from lit_mlfund.data.serving.store import ListStore, PointStore

_logger = logging.getLogger(__name__)
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
            try:
                splits = _read(cache)
                if encoder is None or splits.encoder == encoder:
                    return splits
            except Exception as error:  # intact by its own checksums, and yet not what was written here
                _logger.debug("the cache %s cannot be read and is built anew: %r", cache.folder, error)
                cache = rebuild(root, name, key, "it could not be read", write) if encoder is None else None
        if cache is not None and fresh:
            remove_others(root, cache.folder, lambda other: other["name"] == name)
    except OSError:
        pass
    return fresh[0] if fresh else make()


def _read(cache: Cache) -> Splits:
    """Load cached splits; raises whatever is wrong with files that were not written by `cached_splits`."""
    encoder, summary = Encoder.from_dict(cache.content["encoder"]), cache.content["summary"]
    saved = torch.load(cache.folder / FILE, mmap=True, weights_only=True)
    stores = {split: _store(tensors) for split, tensors in saved.items()}
    for split, store in stores.items():
        _check(split, store, encoder)
    if {split: _num_rows(store) for split, store in stores.items()} != summary["rows"]:
        raise ValueError("the splits are not those of the summary")
    return Splits(encoder, stores, summary)


def _check(split: str, store: PointStore | ListStore, encoder: Encoder) -> None:
    """Raise a ValueError where rows are not what `encoder` could have made."""
    fields = encoder.spec(1).inputs
    found = {name: tuple(values.shape[1:]) for name, values in store.x.items()}
    if found != {name: field.shape for name, field in fields.items()} or not len(store):
        raise ValueError(f"{split} has the inputs {found}")
    target = store.relevance if isinstance(store, ListStore) else store.y
    if not bool(torch.isfinite(target).all()) or (
        len(encoder.target.classes) and bool(((target < 0) | (target >= len(encoder.target.classes))).any())
    ):
        raise ValueError(f"{split} has impossible targets")
    if (codes := store.x.get("categorical")) is not None:
        sizes = torch.tensor(fields["categorical"].cardinalities)
        if bool(((codes < 0) | (codes >= sizes)).any()):
            raise ValueError(f"{split} has codes without a category")


def _num_rows(store: PointStore | ListStore) -> int:
    return len(store.relevance) if isinstance(store, ListStore) else len(store)


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
