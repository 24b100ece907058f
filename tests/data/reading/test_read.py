"""Reading: every format gives the same table, every broken file one clear message."""

import datetime
import gzip

import numpy as np
import polars as pl
import pytest

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.letor import read_letor
from lit_mlfund.data.reading.read import read_table, require_columns
from lit_mlfund.data.reading.table import Table

FRAME = pl.DataFrame(
    {
        "number": [1.5, None, 3.0],
        "word": ["a", "b", None],
        "flag": [True, False, True],
        "day": [datetime.date(2013, 1, 1), datetime.date(2013, 1, 2), None],
    }
)
WRITERS = {
    "t.parquet": FRAME.write_parquet,
    "t.csv": FRAME.write_csv,
    "t.tsv": lambda path: FRAME.write_csv(path, separator="\t"),
    "semicolons.csv": lambda path: FRAME.write_csv(path, separator=";"),
    "t.feather": FRAME.write_ipc,
    "t.arrow": FRAME.write_ipc_stream,
}


@pytest.mark.parametrize("name", WRITERS)
def test_formats_agree(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    assert read_table(str(path)).equals(FRAME)


def test_compressed_csv(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(FRAME.write_csv().encode()))
    assert read_table(str(path)).equals(FRAME)


def test_words_for_missing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\nNA,a\n2,?\n,None\n")
    assert read_table(str(path)).rows() == [(None, "a"), (2, None), (None, None)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"PAR1 torn", "damaged"),
        ("t.feather", b"ARROW1 torn", "damaged"),
        ("t.csv", b"a,b\n1,2,3\n4,5,6\n", "damaged"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", b"", "the file is empty"),
        ("t.xlsx", b"x", "unknown file extension; tables are read from .parquet, .csv"),
    ],
)
def test_broken_files(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_table(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_missing_files(tmp_path):
    (tmp_path / "flights.parquet").touch()
    with pytest.raises(DataError, match=r"no such file; did you mean 'flights.parquet'\?"):
        read_table(str(tmp_path / "flight.parquet"))
    with pytest.raises(DataError, match="no folder"):
        read_table(str(tmp_path / "nowhere" / "x.csv"))
    with pytest.raises(DataError, match="a folder, not a file"):
        read_table(str(tmp_path))


def test_missing_columns_are_all_named():
    with pytest.raises(
        DataError, match=r"x.csv: no column 'wrd'; did you mean 'word'.*no column 'zzz'; there are"
    ):
        require_columns(FRAME, ["wrd", "number", None, "zzz"], "x.csv")


LETOR = """# a comment
2 qid:10 1:0.5 3:2 # doc 1
0 qid:3 2:1

1 qid:10 1:nan
"""


def test_letor(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text(LETOR)
    table = read_letor(str(path))
    assert table.frame.columns == ["relevance", "query", "f1", "f2", "f3"]
    assert table.frame.drop("f1").rows() == [(2, 10, 0, 2), (0, 3, 1, 0), (1, 10, 0, 0)]
    assert table.frame["f1"].fill_nan(None).to_list() == [0.5, 0, None]
    assert read_letor(str(path), width=3).frame.columns == ["relevance", "query", "f0", "f1", "f2"]
    assert read_letor(str(path), width=6).frame["f5"].to_list() == [0, 0, 0]
    (tmp_path / "zero.txt").write_text("1 qid:1 0:4 2:5\n")
    assert read_letor(str(tmp_path / "zero.txt")).frame.rows() == [(1, 1, 4, 0, 5)]
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(LETOR.encode()))
    assert read_letor(str(tmp_path / "train.txt.gz")).frame.drop("f1").equals(table.frame.drop("f1"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "2 qid:1 1:0.5\n2 qid: 1:0.5\n",
            "line 2: expected 'relevance qid:query index:value …', found '2 qid: 1:0.5'",
        ),
        ("2 qid:1 1:0.5\n\nx qid:1 1:1\n", "line 3"),
        ("2 qid:1 1:abc\n", "line 1"),
        ("2 qid:1 1:1\n1 1:1\n", "line 2"),
        ("2 1:1\n", "line 1"),
        ("2 qid:1 3:1 2:1\n", "sorted"),
        ("# nothing\n", "no documents"),
        (
            "1 qid:1 1:1\n1 qid:5\n0 qid:5 # ?\n",
            "query 5 has no documents: its lines list no feature: rows 2, 3",
        ),
        ("", "the file is empty"),
    ],
)
def test_broken_letor(tmp_path, content, message):
    path = tmp_path / "x.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        read_letor(str(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["number", "word", "flag", "day", "whole"])
def test_rows_without_a_value_are_dropped_and_the_others_keep_their_numbers(name):
    frame = FRAME.with_columns(pl.Series("number", [1.5, None, float("nan")]), whole=pl.Series([None, 2, 3]))
    kept = {"number": [0], "word": [0, 1], "flag": [0, 1, 2], "day": [0, 1], "whole": [1, 2]}[name]
    table = Table(frame, "x.csv", np.arange(10, 13)).drop_missing(name)
    assert table.rows.tolist() == [10 + row for row in kept]
    assert table.frame[name].to_list() == [frame[name][row] for row in kept]
