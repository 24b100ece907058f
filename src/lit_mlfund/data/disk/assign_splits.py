"""Assigns the rows of a table that is read in pieces to splits, as `split.py` does for a table in memory.

Both make the same draws, so that a row is in the same split whichever way its table is stored. A draw of single rows
takes 5 bytes a row and one or more for its class, of which one byte a row remains; a draw of groups takes the distinct
labels with their counts, of which 9 bytes a group remain. The split by time reads its columns as a whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from lit_mlfund.data.preprocessing.label_counts import LabelCounts
from lit_mlfund.data.reading.scan import Scan
from lit_mlfund.data.reading.split import SPLITS, draw_groups, draw_rows, split_labels, split_table
from lit_mlfund.data.reading.table import Table


@dataclass(frozen=True)
class SplitAssigner:
    """Maps the rows of a piece to the indices of their splits in `SPLITS`, int8 `[n]`; it reads `columns`."""

    assign: Callable[[Table], np.ndarray]
    columns: tuple[str, ...] = ()

    def __call__(self, piece: Table) -> np.ndarray:
        return self.assign(piece)


def whole_file_assigner(split: str) -> SplitAssigner:
    """Assign every row to one split."""
    return SplitAssigner(lambda piece: np.full(len(piece), SPLITS.index(split), dtype=np.int8))


def split_assigner(
    scan: Scan,
    fractions: dict[str, float],
    *,
    seed: int,
    target: str,
    stratified: bool,
    time: str | None = None,
    group: str | None = None,
    split: str | None = None,
) -> SplitAssigner:
    """Assign by the column `split`; else the latest rows by `time`; else whole groups; else rows at random.

    Rows at random are drawn alike within each label of `target` if `stratified`.

    Raises:
        DataError: missing cells in the column of times or groups; when called, missing cells or other words in the
            column `split`.
    """
    if split is not None:
        return SplitAssigner(lambda piece: _codes_of(split_labels(piece, split)), (split,))
    if time is not None and fractions:
        table = scan.column(time, *([group] if group else []))
        split_of_row = np.zeros(table.rows[-1] + 1, dtype=np.int8)
        parts = split_table(table, fractions, seed=seed, time=time, group=group)
        for number, part in enumerate(parts.values()):
            split_of_row[part.rows] = number
        return _row_assigner(split_of_row, fractions)
    if group is not None:
        return _group_assigner(scan, group, fractions, seed)
    if not fractions:
        return whole_file_assigner("train")
    if stratified:
        classes = _class_codes(scan, target)
        drawn = draw_rows(len(classes), fractions, seed, classes)
    else:
        drawn = draw_rows(sum(len(piece) for piece in scan.pieces([target])), fractions, seed)
    if scan.present is not None:
        drawn = _by_row_of_file(scan, drawn)
    return _row_assigner(drawn, fractions)


def _by_row_of_file(scan: Scan, drawn: np.ndarray) -> np.ndarray:
    """Turn the splits of the rows that are kept into those of all rows of the file; others are in train."""
    rows = np.concatenate([piece.rows for piece in scan.pieces([scan.present])])
    split_of_row = np.zeros(rows[-1] + 1, dtype=drawn.dtype)
    split_of_row[rows] = drawn
    return split_of_row


def _codes_of(labels: pl.Series) -> np.ndarray:
    return labels.replace_strict(SPLITS, range(3), return_dtype=pl.Int8).to_numpy()


def _codes_in_splits(fractions: dict[str, float]) -> np.ndarray:
    """Return the indices in `SPLITS` of train and the splits of `fractions`, int8."""
    return np.array([SPLITS.index(name) for name in ("train", *fractions)], dtype=np.int8)


def _row_assigner(split_of_row: np.ndarray, fractions: dict[str, float]) -> SplitAssigner:
    """Look up `split_of_row [N]` by position in the file: 0 is train, then the splits of `fractions`."""
    codes = _codes_in_splits(fractions)
    # a file that grows meanwhile is refused at the end of the pass; until then its new rows must not fail here
    return SplitAssigner(lambda piece: codes[split_of_row.take(piece.rows, mode="clip")])


def _group_assigner(scan: Scan, group: str, fractions: dict[str, float], seed: int) -> SplitAssigner:
    """Draw the split of each label of the column `group`, and look labels up by their hashes."""
    counts = LabelCounts()
    for piece in scan.pieces([group]):
        labels = piece.labels(group)
        if (missing := labels.is_null()).any():
            raise piece.error(group, "the split follows this column, and it is missing", missing)
        counts.add(labels)
    groups = counts.table().sort("label")
    codes = _codes_in_splits(fractions)[
        draw_groups(groups["count"].cast(pl.Int64).to_numpy(), fractions, seed)
    ]
    for hash_seed in itertools.count():  # until no two labels have the same hash: 0 but for a rare accident
        hashes = groups["label"].hash(hash_seed).to_numpy()
        order = np.argsort(hashes)
        hashes = hashes[order]
        if (hashes[1:] != hashes[:-1]).all():
            break
    codes = codes[order]

    def assign(piece: Table) -> np.ndarray:
        index = hashes.searchsorted(piece.labels(group).hash(hash_seed).to_numpy())
        return codes.take(index, mode="clip")

    return SplitAssigner(assign, (group,))


def _class_codes(scan: Scan, column: str) -> np.ndarray:
    """Number the labels of a column as they occur: codes `[N]` of the smallest unsigned type for each piece."""
    numbers: dict[str, int] = {}
    parts = []
    for piece in scan.pieces([column]):
        labels = piece.labels(column).fill_null("")  # a missing target is refused when the encoder is fitted
        unique = labels.unique().to_list()
        for label in unique:
            numbers.setdefault(label, len(numbers))
        codes = labels.replace_strict(unique, [numbers[label] for label in unique], return_dtype=pl.Int64)
        parts.append(codes.to_numpy().astype(np.min_scalar_type(len(numbers) - 1)))
    return np.concatenate(parts)
