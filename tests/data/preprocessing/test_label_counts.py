"""Labels counted in pieces are those counted at once, in few tables."""

from __future__ import annotations

import numpy as np
import polars as pl

from lit_mlfund.data.preprocessing.label_counts import LabelCounts


def test_pieces_add_up() -> None:
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.integers(0, 900, 3000), rng.integers(0, 9, 3000), np.arange(5000, 6000)])
    labels = pl.Series([None if code == 3 else f"label {code}" for code in codes])
    counts = LabelCounts()
    for start in range(0, len(labels), 10):
        counts.add(labels[start : start + 10])
        counts.add(pl.Series([None], dtype=pl.String))  # a piece without labels
    assert len(counts._parts) <= 12
    expected = labels.drop_nulls().alias("label").value_counts()
    assert counts.table().sort("label").equals(expected.sort("label"))


def test_no_labels_at_all() -> None:
    counts = LabelCounts()
    counts.add(pl.Series([None, None], dtype=pl.String))
    assert counts.table().height == 0
