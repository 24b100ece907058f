"""From the user's file, in pieces, to one file of encoded rows per split."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lit_mlfund.data.allot import Allot
from lit_mlfund.data.encoder import Encoder, all_weightless
from lit_mlfund.data.errors import DataError
from lit_mlfund.data.mapped import RowWriter
from lit_mlfund.data.preprocess import Encoded
from lit_mlfund.data.scan import Scan
from lit_mlfund.data.split import SPLITS
from lit_mlfund.data.store import PointStore
from lit_mlfund.data.table import Table


@dataclass
class Converted:
    """What was met in the rows of one split."""

    rows: int = 0
    imputed: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    classes: Counter[int] = field(default_factory=Counter)  # rows by code, of a target with classes
    weighted: bool = False

    def add(self, store: PointStore, encoded: Encoded, classes: bool) -> None:
        """Count a further piece."""
        self.rows += len(store)
        self.imputed.update(encoded.imputed)
        self.unknown.update(encoded.unknown)
        if classes:
            self.classes.update(dict(enumerate(store.y.long().bincount().tolist())))
        self.weighted |= store.weight is None or bool(store.weight.any())

    def to_dict(self) -> dict[str, Any]:
        """Plain Python."""
        classes = [self.classes[code] for code in range(max(self.classes, default=-1) + 1)]
        return {
            "rows": self.rows,
            "imputed": dict(self.imputed),
            "unknown": dict(self.unknown),
            "classes": classes,
        }


def convert(sources: dict[str, tuple[Scan, Allot]], encoder: Encoder, folder: Path) -> dict[str, Any]:
    """Write the files of each split into `folder`, and tell in plain Python what was met in each split.

    Args:
        sources: of each split whose name begins a file, its file and which of its rows are whose.
        encoder: fitted on the training rows.
        folder: an empty one.

    Raises:
        DataError: as `Encoder.store` does; a split that is left empty.
    """
    met = {split: Converted() for split in SPLITS}
    with ExitStack() as files:
        writers = {split: RowWriter(folder, split, files) for split in SPLITS}
        for scan, split_of in sources.values():
            needed = [*encoder.features.columns, *encoder.roles.required(True), *split_of.columns]
            for piece in scan.pieces(needed):
                for split, table in _parts(piece, split_of(piece)):
                    store, encoded = encoder.piece(table)
                    writers[split].write(store)
                    met[split].add(store, encoded, bool(encoder.target.classes))
    source = next(iter(sources.values()))[0].path
    for split, counts in met.items():
        if not counts.rows:
            raise DataError(f"{source}: the {split} split is empty")
        if not counts.weighted:
            raise all_weightless(f"{source} ({split})", encoder.roles.weight)
    return {split: {**counts.to_dict(), "layout": writers[split].layout} for split, counts in met.items()}


def _parts(piece: Table, codes: np.ndarray) -> list[tuple[str, Table]]:
    """The rows of a piece by split; those of a file that is one split keep the file's name."""
    if (codes == codes[0]).all():
        split = SPLITS[codes[0]]
        return [(split, piece)]
    found = [(split, np.flatnonzero(codes == code)) for code, split in enumerate(SPLITS)]
    return [(split, piece.take(rows, split)) for split, rows in found if len(rows)]
