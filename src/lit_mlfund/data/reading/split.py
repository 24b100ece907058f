"""Splits one table into train, validation and test rows, so that nothing leaks from one into the other.

Each function returns split -> positions `[n]` in ascending order. `fractions` names the splits that are cut off
(`{"val": 0.15, "test": 0.15}`); train is what remains.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.table import Table

Splits = dict[str, np.ndarray]
SPLITS = ("train", "val", "test")
BLOCK = 2**16  # rows that `draw_rows` looks at together
OTHER_NAMES = {"valid": "val", "validation": "val", "dev": "val"}  # other common names in files


def split_table(
    table: Table,
    fractions: dict[str, float],
    *,
    seed: int,
    time: str | None = None,
    group: str | None = None,
    classes: str | None = None,
) -> dict[str, Table]:
    """Split by the column `time`, else by `group`, else at random, stratified by the column `classes`.

    Raises:
        DataError: missing cells in the column, or a split that is left empty.
    """
    for name in (time, group):
        if name is not None and (missing := table.labels(name).is_null()).any():
            raise table.error(name, "the split follows this column, and it is missing", missing)
    groups = None if group is None else table.codes(group)
    try:
        if time is not None:
            numeric = table.frame.schema[time].is_numeric()
            times = table.numbers(time) if numeric else table.timestamps(time).to_physical().to_numpy()
            splits = split_by_time(times, fractions, groups)
        elif groups is not None:
            splits = split_by_group(groups, fractions, seed)
        else:
            splits = split_at_random(
                len(table), fractions, seed, None if classes is None else table.codes(classes)
            )
    except DataError as error:
        raise DataError(f"{table.source}: {error}") from None
    return {split: table.take(index, split) for split, index in splits.items()}


def split_by_column(table: Table, name: str, group: str | None = None) -> dict[str, Table]:
    """Split by the labels of a column: train, val (or valid, validation, dev) and test, in any case.

    Raises:
        DataError: missing cells or other labels in the column, a split without rows, or a value of the column
            `group` that occurs in two splits.
    """
    labels = split_labels(table, name)
    for split in SPLITS:
        if not (labels == split).any():
            raise DataError(f"{table.source}: column {name!r}: no row has the value {split!r}")
    if group is not None:
        codes, split_of = table.codes(group), labels.rank("dense").to_numpy()
        first = np.empty(codes.max() + 1, dtype=split_of.dtype)
        first[codes[::-1]] = split_of[::-1]  # split of the first row of each group
        differs = split_of != first[codes]
        if differs.any():
            value = table.frame[group].filter(differs)[0]
            raise table.error(name, f"{group} {value!r} lies in more than one split", differs)
    return {split: table.take((labels == split).arg_true().to_numpy(), split) for split in SPLITS}


def split_labels(table: Table, name: str) -> pl.Series:
    """Return the column `name` as train, val and test; raise a DataError for missing or other labels."""
    labels = table.labels(name).str.strip_chars().str.to_lowercase().replace(OTHER_NAMES)
    if labels.is_null().any():
        raise table.error(name, "the split of the row is missing", labels.is_null())
    other = ~labels.is_in(SPLITS)
    if other.any():
        label = str(table.frame[name].filter(other)[0])
        raise table.error(name, f"the split of a row must be train, val or test, not {label!r}", other)
    return labels


def split_by_time(times: np.ndarray, fractions: dict[str, float], groups: np.ndarray | None = None) -> Splits:
    """Take the latest rows as test and those before them as validation; equal times stay together.

    Args:
        times: `[N]`, anything that sorts.
        fractions: shares of the rows.
        groups: `[N]` codes; a group stays together, at the time of its latest row.
    """
    if groups is not None:
        latest = np.full(groups.max() + 1, times.min())
        np.maximum.at(latest, groups, times)
        times = latest[groups]
    ordered = np.sort(times)
    split_of = np.zeros(len(times), dtype=np.int8)
    for code, start in enumerate(split_starts(fractions)[1:], start=1):
        split_of[times >= ordered[min(round(start * len(ordered)), len(ordered) - 1)]] = code
    return _collect(split_of, fractions, "too few distinct times")


def split_by_group(groups: np.ndarray, fractions: dict[str, float], seed: int) -> Splits:
    """Fill the splits to their shares of the rows with whole groups, in an order drawn from `seed`.

    Args:
        groups: `[N]` codes 0, 1, ….
    """
    sizes = np.bincount(groups)
    return _collect(draw_groups(sizes, fractions, seed)[groups], fractions, f"only {len(sizes)} groups")


def split_at_random(
    size: int, fractions: dict[str, float], seed: int, classes: np.ndarray | None = None
) -> Splits:
    """Draw rows from `seed`, stratified by `classes [N]` if given (see `draw_rows`)."""
    return _collect(draw_rows(size, fractions, seed, classes), fractions, f"only {size} rows")


def draw_groups(sizes: np.ndarray, fractions: dict[str, float], seed: int) -> np.ndarray:
    """Draw the split of each group, int8 `[G]`: 0 is train, then those of `fractions`.

    Args:
        sizes: `[G]`, rows of each group, groups in the order of their labels.
    """
    order = np.random.default_rng(seed).permutation(len(sizes))
    # middle of each group in the cumulative number of rows, from 0 to 1
    middle = (np.cumsum(sizes[order]) - sizes[order] / 2) / sizes.sum()
    split_of_group = np.empty(len(sizes), dtype=np.int8)
    split_of_group[order] = _split_codes(middle, fractions)
    return split_of_group


def draw_rows(
    size: int, fractions: dict[str, float], seed: int, classes: np.ndarray | None = None
) -> np.ndarray:
    """Draw the split of each row, int8 `[size]`: 0 is train, then those of `fractions`; classes alike.

    Each split has a row of every class that has as many rows as there are splits, and train one of every class.

    It takes 5 bytes a row beside `classes` (9 from 2^32 rows on), of which one remains.

    Args:
        classes: `[size]`, codes 0, 1, … of any integer type; how they are numbered makes no difference.
    """
    order = np.arange(size, dtype=np.uint32 if size <= 2**32 else np.int64)
    np.random.default_rng(seed).shuffle(order)
    stratified = classes is not None
    classes = np.broadcast_to(np.uint8(0), size) if classes is None else classes
    blocks = [slice(start, start + BLOCK) for start in range(0, size, BLOCK)]
    counts = np.zeros(int(classes.max(initial=0)) + 1, dtype=np.int64)
    for block in blocks:
        counts += np.bincount(classes[block], minlength=len(counts))
    rare = _ends_in_rare_classes(counts, fractions) if stratified else {}
    seen = np.zeros_like(counts)  # rows of each class in the blocks before
    split_of = np.empty(size, dtype=np.int8)
    for block in blocks:
        rows = order[block]
        by_class = rows[np.argsort(classes[rows], kind="stable")]
        own = classes[by_class]
        in_block = np.bincount(own, minlength=len(counts))
        rank = np.arange(len(rows)) - np.repeat(np.cumsum(in_block) - in_block - seen, in_block)
        codes = _split_codes((rank + 0.5) / counts[own], fractions)
        for count, ends in rare.items():
            is_rare = counts[own] == count
            codes[is_rare] = np.searchsorted(ends, rank[is_rare], side="right")
        split_of[by_class] = codes
        seen += in_block
    return split_of


def _ends_in_rare_classes(counts: np.ndarray, fractions: dict[str, float]) -> dict[int, np.ndarray]:
    """Return where each split but the last ends among the rows of a class, by size of the class.

    It returns only those sizes of which shares alone would leave out a split.
    """
    ends, num_splits = {}, len(fractions) + 1
    for count in np.unique(counts[counts > 0]).tolist():
        sizes = np.bincount(_split_codes((np.arange(count) + 0.5) / count, fractions), minlength=num_splits)
        needed = range(num_splits if count >= num_splits else 1)
        empty = [split for split in needed if not sizes[split]]
        for split in empty:
            sizes[sizes.argmax()] -= 1
            sizes[split] += 1
        if empty:
            ends[count] = np.cumsum(sizes)[:-1]
    return ends


def split_starts(fractions: dict[str, float]) -> list[float]:
    """Return where train, and then each split, starts on a scale from 0 to 1."""
    if min(fractions.values(), default=0.5) <= 0 or sum(fractions.values()) >= 1:
        raise ValueError(f"fractions must be positive and leave something for train, got {fractions}")
    starts = [1.0 - sum(fractions.values())]
    for share in fractions.values():
        starts.append(starts[-1] + share)
    return [0.0, *starts[:-1]]


def _split_codes(position: np.ndarray, fractions: dict[str, float]) -> np.ndarray:
    """Return the number of the split that each `position` in 0 … 1 falls into; 0 is train."""
    return np.searchsorted(split_starts(fractions)[1:], position, side="right")


def _collect(split_of: np.ndarray, fractions: dict[str, float], reason: str) -> Splits:
    splits = {name: np.flatnonzero(split_of == code) for code, name in enumerate(("train", *fractions))}
    for name, index in splits.items():
        if len(index) == 0:
            raise DataError(f"the {name} split is empty ({reason})")
    return splits


def split_last(group: np.ndarray, moments: np.ndarray) -> Splits:
    """Return of each group of three rows or more the last one as test, the one before as val, and all others as train.

    Args:
        group: codes `[N]` from 0, such as users.
        moments: `[N]`; rows of one moment are in the order of the file.
    """
    order = np.lexsort((moments, group))
    size = np.bincount(group)
    later = np.empty(len(group), dtype=np.int64)  # rows of the same group that come after
    later[order] = np.cumsum(size)[group[order]] - 1 - np.arange(len(group))
    later[size[group] < 3] = 2
    return {
        "train": np.flatnonzero(later >= 2),
        "val": np.flatnonzero(later == 1),
        "test": np.flatnonzero(later == 0),
    }
