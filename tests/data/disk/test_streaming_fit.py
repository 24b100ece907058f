"""The memory of a fit in pieces does not grow with the number of pieces."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lit_mlfund.data.disk import streaming_fit
from lit_mlfund.data.reading.table import Table


def test_a_sample_of_many_pieces_is_few_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming_fit, "SAMPLE_ROWS", (100, 100))
    samples = {}
    for size in (4, 1000):
        sample = streaming_fit._Sample(width=1)
        for start in range(0, 20_000, size):
            rows = np.arange(start, start + size)
            sample.add(Table(pl.DataFrame({"x": rows}), "x.csv", rows))
            assert len(sample.parts) <= streaming_fit.MAX_PARTS
        table = sample.table
        assert sample.seen == 20_000 and 100 <= len(table) == sample.size <= 200
        assert table.frame["x"].to_list() == table.rows.tolist() and table.frame.n_chunks() == 1
        samples[size] = table.rows.tolist()
    assert set(samples[4]) & set(samples[1000])  # a row is drawn by its number, whatever its piece


def test_the_rows_of_a_sample_by_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming_fit, "SAMPLE", 1000)
    monkeypatch.setattr(streaming_fit, "SAMPLE_ROWS", (10, 500))
    assert [streaming_fit._Sample(width).least for width in (1, 3, 999)] == [500, 333, 10]
    assert isinstance(streaming_fit._Sample(3).least, int)
