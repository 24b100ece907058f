"""A frame that takes long to make out of installed files, kept from one run to the next."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from lit_mlfund.data.cache import open_or_make, own_folder, remove_others
from lit_mlfund.data.source import Signature

FILE = "frame.parquet"


def kept_frame(name: str, files: Sequence[Path], code: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """What `make` makes of `files`: out of the user's folder of caches, where it was made before.

    It is made anew when one of the files, the source file `code` of `make`, or polars changes, and each time where
    nothing can be written.
    """
    key = {
        "name": name,
        "files": [Signature.of(str(file)).to_dict() for file in files],
        "code": hashlib.blake2b(Path(code).read_bytes(), digest_size=16).hexdigest(),
        "polars": pl.__version__,
    }
    made: list[pl.DataFrame] = []

    def write(folder: Path) -> dict[str, Any]:
        made.append(make())
        made[0].write_parquet(folder / FILE)
        return {"rows": made[0].height}

    try:
        root = own_folder("frames")
        cache = open_or_make(root, name, key, write)
        if not made:
            return pl.read_parquet(cache.folder / FILE)
        remove_others(root, cache.folder, lambda other: other["name"] == name)
    except OSError:
        pass
    return made[0] if made else make()
