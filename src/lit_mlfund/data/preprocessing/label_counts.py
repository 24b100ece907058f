"""Counts the labels of a column whose rows come in pieces."""

from __future__ import annotations

import polars as pl


class LabelCounts:
    """Counts how often each label occurs; the memory holds the distinct labels, at most about twice."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []  # each less than half as high as the one before, so they are few

    def add(self, labels: pl.Series) -> None:
        """Count the labels of a further piece; missing ones are left out."""
        part = labels.drop_nulls().alias("label").value_counts()
        while self._parts and 2 * part.height >= self._parts[-1].height:
            part = _sum([self._parts.pop(), part])
        self._parts.append(part)

    def table(self) -> pl.DataFrame:
        """Return the columns `label` and `count`, one row per distinct label in no particular order."""
        return _sum(self._parts)


def _sum(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by("label").agg(pl.col("count").sum())
