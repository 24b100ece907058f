"""Converts the user's file, piece by piece, to one file of encoded rows per split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lit_mlfund.data.disk.assign_splits import SplitAssigner
from lit_mlfund.data.preprocessing.features import Encoded
from lit_mlfund.data.preprocessing.table_encoder import Encoder, zero_weights_error
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.scan import Scan, lists_are_contiguous, whole_lists
from lit_mlfund.data.reading.split import SPLITS
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.mapped import RowWriter
from lit_mlfund.data.serving.store import ListStore, PointStore


@dataclass
class SplitCounts:
    """Counts rows, lists, classes, and imputed and unknown cells of one split."""

    rows: int = 0
    queries: int = 0
    longest: int = 0  # documents of the longest list
    grades: Counter[float] = field(default_factory=Counter)  # documents by relevance
    imputed: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    classes: Counter[int] = field(default_factory=Counter)  # rows by class code, of a target with classes
    weighted: bool = False

    def add(self, store: PointStore | ListStore, encoded: Encoded, classes: bool) -> None:
        """Count the rows of a further piece."""
        self.rows += len(next(iter(store.x.values())))
        self.imputed.update(encoded.imputed)
        self.unknown.update(encoded.unknown)
        self.known.update(encoded.known)
        if isinstance(store, ListStore):
            self.queries += len(store)
            self.longest = max(self.longest, int(store.lengths.max()))
            grades, counts = store.relevance.unique(return_counts=True)
            self.grades.update(dict(zip(grades.tolist(), counts.tolist())))
        elif classes:
            self.classes.update(dict(enumerate(store.y.long().bincount().tolist())))
        self.weighted |= store.weight is None or bool(store.weight.any())

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain Python."""
        classes = [self.classes[code] for code in range(max(self.classes, default=-1) + 1)]
        return {
            "rows": self.rows,
            "queries": self.queries,
            "longest": self.longest,
            "grades": {f"{grade:g}": self.grades[grade] for grade in sorted(self.grades)},
            "imputed": dict(self.imputed),
            "unknown": dict(self.unknown),
            "known": dict(self.known),
            "classes": classes,
        }


def convert(sources: dict[str, tuple[Scan, SplitAssigner]], encoder: Encoder, folder: Path) -> dict[str, Any]:
    """Write the files of each split into `folder` and return the counts and layout of each in plain Python.

    Args:
        sources: the files to read, each with what assigns its rows to splits.
        encoder: fitted on the training rows.
        folder: an empty folder.

    Raises:
        DataError: as `Encoder.store` does; a split that is left empty; lists whose rows lie apart or in several
            splits.
    """
    query = encoder.roles.query
    counts = {split: SplitCounts() for split in SPLITS}
    with ExitStack() as files:
        writers = {split: RowWriter(folder, split, files) for split in SPLITS}
        for scan, split_of in sources.values():
            needed = [*encoder.features.columns, *encoder.roles.required(True), *split_of.columns]
            if query is not None and not lists_are_contiguous(scan, query):
                raise DataError(
                    f"{scan.path}: column {query!r}: with data.cache the rows of a list must stand side by side; sort "
                    "the file by this column, or read it into memory with data.cache=null"
                )
            pieces = scan.pieces(needed)
            for piece in pieces if query is None else whole_lists(pieces, query):
                codes = split_of(piece)
                if query is not None:
                    _refuse_torn(piece, query, codes)
                for split, table in _parts(piece, codes):
                    store, encoded = encoder.store(table, part=True)
                    writers[split].write(store)
                    counts[split].add(store, encoded, bool(encoder.target.classes))
    source = next(iter(sources.values()))[0].path
    for split, count in counts.items():
        if not count.rows:
            raise DataError(f"{source}: the {split} split is empty")
        if not count.weighted:
            raise zero_weights_error(f"{source} ({split})", encoder.roles.weight)
    return {split: {**count.to_dict(), "layout": writers[split].layout} for split, count in counts.items()}


def rows_by_split(
    sources: dict[str, tuple[Scan, SplitAssigner]], columns: list[str]
) -> Iterator[tuple[str, Table]]:
    """Yield the columns of `sources` (see `convert`) piece by piece, each with the name of its split."""
    for scan, split_of in sources.values():
        for piece in scan.pieces([*columns, *split_of.columns]):
            yield from _parts(piece, split_of(piece))


def _parts(piece: Table, codes: np.ndarray) -> list[tuple[str, Table]]:
    """Return the rows of a piece by split; a piece that lies in one split keeps the file's name as its source."""
    if (codes == codes[0]).all():
        split = SPLITS[codes[0]]
        return [(split, piece)]
    rows_of = [(split, np.flatnonzero(codes == code)) for code, split in enumerate(SPLITS)]
    return [(split, piece.take(rows, split)) for split, rows in rows_of if len(rows)]


def _refuse_torn(piece: Table, query: str, codes: np.ndarray) -> None:
    """Raise a DataError for a list that lies in more than one split."""
    labels = piece.labels(query)
    torn = (codes[1:] != codes[:-1]) & (labels[1:] == labels[:-1]).to_numpy()
    if torn.any():
        wrong = np.concatenate([[False], torn])
        raise piece.error(query, f"list {labels.filter(wrong)[0]!r} lies in more than one split", wrong)
