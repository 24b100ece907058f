"""Assigns the rows of a table to splits, one piece at a time.

The rules are those of `split.py`, but where that module permutes all rows or groups, a row or group is drawn here by a
hash of its position or name: the shares hold on average, and nothing of the size of the table is in memory. Only the
split by time reads its columns as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from lit_mlfund.data.reading.scan import Scan
from lit_mlfund.data.reading.split import SPLITS, remaining, split_labels, split_table
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
    time: str | None = None,
    group: str | None = None,
    split: str | None = None,
) -> SplitAssigner:
    """Assign by the column `split`; else the latest rows by `time`; else by `group`; else each row for itself.

    Raises:
        DataError: missing cells or other words in the column; when called, as well.
    """
    begins = np.array(remaining(fractions)[1:])
    names = ("train", *fractions)
    numbers = np.array([SPLITS.index(name) for name in names], dtype=np.int8)

    def split_at(position: np.ndarray) -> np.ndarray:
        return numbers[np.searchsorted(begins, position, side="right")]

    def by_column(piece: Table) -> np.ndarray:
        labels = split_labels(piece, split or "")
        return labels.replace_strict(SPLITS, range(3), return_dtype=pl.Int8).to_numpy()

    def by_group(piece: Table) -> np.ndarray:
        labels = piece.labels(group or "")
        if labels.is_null().any():
            raise piece.error(
                group or "", "the split follows this column, and it is missing", labels.is_null()
            )
        unique = labels.unique()
        digests = np.array([_digest(label) for label in unique], dtype=np.uint64)
        by_label = pl.Series(split_at(uniform(digests, seed)))
        return labels.replace_strict(unique, by_label, return_dtype=pl.Int8).to_numpy()

    if split is not None:
        return SplitAssigner(by_column, (split,))
    if time is not None and fractions:
        table = scan.column(time, *([group] if group else []))
        whole = np.zeros(len(table), dtype=np.int8)
        for name, part in split_table(table, fractions, seed=seed, time=time, group=group).items():
            whole[part.rows] = SPLITS.index(name)
        return SplitAssigner(lambda piece: whole[piece.rows])
    if group is not None:
        return SplitAssigner(by_group, (group,))
    return SplitAssigner(lambda piece: split_at(uniform(piece.rows, seed)))


def uniform(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Draw float64 `[n]` in 0 … 1, one for each number whatever its neighbours (splitmix64; Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        state = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state += np.uint64((seed * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        return ((state ^ (state >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


def _digest(label: str) -> int:
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest(), "little")
