"""Types of columns from pieces of a file: those that polars infers from the whole of it."""

import gzip

import numpy as np
import polars as pl
import pytest

from lit_mlfund.data.parsing.options import MISSING
from lit_mlfund.data.reading import csv_pieces as module
from lit_mlfund.data.reading.csv_file import CsvFile
from lit_mlfund.data.reading.csv_pieces import csv_batches, csv_schema

CELLS = {
    "whole": ["1", "2", "-3"],
    "number": ["1", "2.5", "1e3"],
    "word": ["a", "b c", ""],
    "late word": ["1"] * 30 + ["x"],
    "late number": ["1"] * 30 + ["0.5"],
    "truth": ["true", "false", "NA"],
    "date": ["2020-01-01", "2020-01-02"],
    "time": ["2020-01-01T10:00:00", "2020-01-02T11:30:00"],
    "date and time": ["2020-01-01"] * 20 + ["2020-01-02T11:30:00"],
    "mixed": ["1", "true"],
    "missing": ["NA", "", "null"],
    "first missing": ["NA"] * 40 + ["7"],
    "quoted": ['"1"', '"2"'],
    "lines": ['"a\nb"', '"c, ""d"""', "e"],
}


@pytest.mark.parametrize("chunk", [16, 64, 1000, 2**20])
@pytest.mark.parametrize("compressed", [False, True])
def test_as_polars_infers(tmp_path, monkeypatch, chunk, compressed):
    monkeypatch.setattr(module, "CHUNK", chunk)
    rows = ["\t".join(f'"{name}"' if name == "word" else name for name in CELLS)]
    rows += ["\t".join(cells[n % len(cells)] for cells in CELLS.values()) for n in range(200)]
    text = "\n".join(rows).encode() + b"\n" * (chunk == 64)
    path = tmp_path / ("x.tsv.gz" if compressed else "x.tsv")
    path.write_bytes(gzip.compress(text) if compressed else text)
    expected = pl.read_csv(
        path, separator="\t", null_values=list(MISSING), infer_schema_length=None, try_parse_dates=True
    )
    csv = CsvFile.of(path)
    schema = csv_schema(csv)
    assert schema.types == dict(expected.schema)
    expected = expected.head(200)  # polars takes a blank line at the end for a row
    assert csv.read().equals(expected)
    frames = list(csv_batches(csv, schema, ["lines", "late number", "date"]))
    assert pl.concat(frames).equals(expected.select("lines", "late number", "date"))
    assert len(frames) > 5 or chunk > 1000
    assert len(set(expected.schema.values())) == 6


def test_no_rows_and_odd_ends(tmp_path):
    path = tmp_path / "x.csv"
    for text in (b"a,b\n", b"a,b", b"a,b\n1,2", b"a,b\r\n1,x\r\n", b"\xef\xbb\xbfa,b\n1,2.5\n"):
        path.write_bytes(text)
        expected = pl.read_csv(path, infer_schema_length=None, try_parse_dates=True).schema
        assert csv_schema(CsvFile.of(path)).types == dict(expected)


def test_numbers_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 500)
    frame = pl.DataFrame(np.random.default_rng(0).normal(size=(300, 3)), ["x", "y", "z"])
    frame = frame.with_columns(pl.col("z").round(0).cast(pl.Int64))
    frame.write_csv(tmp_path / "x.csv")
    assert csv_schema(CsvFile.of(tmp_path / "x.csv")).types == dict(frame.schema)
