"""A new file in pieces: the rows, lists, counts and messages of the file as a whole."""

import numpy as np
import polars as pl
import pytest
import torch

from lit_mlfund.data import scan
from lit_mlfund.data.batch import ListBatch
from lit_mlfund.data.errors import DataError
from lit_mlfund.datamodules import ImagesDataModule, LetorDataModule, TableDataModule, TextDataModule
from lit_mlfund.datamodules import table as module
from tests.datamodules.test_table import OTHERS, frame

FORMATS = {
    "parquet": lambda table, path: table.write_parquet(path, row_group_size=16),
    "csv": lambda table, path: table.write_csv(path),
    "arrow": lambda table, path: table.write_ipc(path),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(scan, "MAX_ROWS", 32)


def fitted(tmp_path, task, target, **kwargs):
    path = tmp_path / "x.parquet"
    frame().write_parquet(path)
    data = TableDataModule(
        batch_size=16, seed=0, task=task, path=str(path), target=target, exclude=sorted(OTHERS - {target}), **kwargs
    )  # fmt: skip
    data.setup()
    return data


def rows(loader):
    """Example by its row in the file -> all that its batch holds of it."""
    found = {}
    for batch in loader:
        for n in range(len(batch)):
            if isinstance(batch, ListBatch):
                real = batch.mask[n]
                key = tuple(batch.index[n][real].tolist())
                x = [*(values[n][real] for values in batch.x.values()), batch.relevance[n][real]]
            else:
                key, x = int(batch.index[n]), [*(values[n] for values in batch.x.values()), batch.y[n]]
                x[0] = x[0] if "tokens" not in batch.x else x[0][x[0] > 0]  # padded as the batch needs
            found[key] = torch.cat([value.reshape(-1).double() for value in x])
            if batch.weight is not None:
                found[key] = torch.cat([found[key], batch.weight[n].reshape(1).double()])
    return found


def assert_as_a_whole(data, path, need_target=True):
    loader, whole = data.new_loader(path, need_target)
    expected, notes = rows(loader), data.notes
    pieces = [(rows(loader), part) for loader, part in data.new_pieces(path, need_target)]
    assert data.notes == notes
    joined = pl.concat([part for _, part in pieces])
    assert joined.equals(whole.select(joined.columns))
    found = {}
    for part, _ in pieces:
        assert not part.keys() & found.keys()
        found |= part
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        torch.testing.assert_close(found[key], values)
    return len(pieces)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(
    ("task", "target"), [("binary", "late"), ("multiclass", "kind"), ("regression", "minutes")]
)
def test_rows(tmp_path, ending, task, target):
    data = fitted(tmp_path, task, target, weight="importance")
    new = frame(120).with_columns(colour=pl.Series(["red", "violet", None] * 40))
    path = str(tmp_path / f"new.{ending}")
    FORMATS[ending](new, path)
    assert assert_as_a_whole(data, path) >= 4
    assert data.notes["unknown_categories.colour"] == 40
    FORMATS[ending](new.drop(target, "importance"), path)
    assert assert_as_a_whole(data, path, need_target=False) >= 4
    with pytest.raises(DataError, match=f"no column '{target}'"):
        list(data.new_pieces(path, need_target=True))


@pytest.mark.parametrize("per_query", ["none", "append"])
@pytest.mark.parametrize("together", [True, False])
def test_lists(tmp_path, per_query, together):
    data = fitted(tmp_path, "ranking", "grade", query="user", per_query=per_query)
    new = frame(150)
    if together:  # of 1 to 40 documents: within a piece, and over several
        sizes = np.array([40, 1, 2, 3, 33, 10, 5, 6, 30, 20])
        new = new.with_columns(user=pl.Series(np.repeat([f"q{n}" for n in range(10)], sizes)))
    path = str(tmp_path / "new.parquet")
    new.write_parquet(path, row_group_size=16)
    pieces = assert_as_a_whole(data, path)
    assert (pieces >= 3) if together else (pieces == 1)


def test_text(tmp_path):
    words = np.array(["one", "two", "three", "four"])
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"body": [" ".join(rng.choice(words, 5)) for _ in range(100)], "y": [0, 1] * 50})
    path = str(tmp_path / "text.parquet")
    table.write_parquet(path, row_group_size=16)
    data = TextDataModule(task="binary", path=path, text="body", target="y")
    data.setup()
    assert sum(part.height for _, part in data.new_pieces(path, True)) == 100
    assert len(list(data.new_pieces(path, True))) > 1
    assert_as_a_whole(data, path)


def test_weights_of_nothing(tmp_path):
    data = fitted(tmp_path, "binary", "late", weight="importance")
    path = str(tmp_path / "new.parquet")
    weight = pl.Series(np.arange(120) >= 100).cast(pl.Float64)
    frame(120).with_columns(importance=weight).write_parquet(path)
    assert_as_a_whole(data, path)  # a piece of nothing but zeros is no mistake
    frame(120).with_columns(importance=0 * weight).write_parquet(path)
    with pytest.raises(DataError, match="all weights are 0"):
        list(data.new_pieces(path, need_target=True))


def test_a_bad_row_is_named_by_its_place_in_the_file(tmp_path):
    data = fitted(tmp_path, "binary", "late")
    path = str(tmp_path / "new.parquet")
    frame(120).with_columns(x=pl.when(pl.col("x").cum_count() == 101).then(float("inf")).otherwise("x")).write_parquet(path)  # fmt: skip  # noqa: E501
    with pytest.raises(DataError, match="infinite values: row 101"):
        list(data.new_pieces(path, need_target=False))


def test_a_stream_is_read_as_a_whole(tmp_path):
    data = fitted(tmp_path, "binary", "late")
    path = str(tmp_path / "stream.arrow")
    frame(120).write_ipc_stream(path)
    assert assert_as_a_whole(data, path) == 1


def test_what_is_read_as_a_whole(tmp_path):
    path = tmp_path / "lists.txt"
    path.write_text("".join(f"{n % 3} qid:{n // 4} 1:{n % 7} 2:{n % 5}\n" for n in range(200)))
    data = LetorDataModule(batch_size=4, seed=0, path=str(path))
    data.setup()
    assert assert_as_a_whole(data, str(path)) == 1
    assert ImagesDataModule(task="binary", path="pictures").scan_file("pictures") is None
