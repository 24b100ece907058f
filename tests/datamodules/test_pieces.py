"""A new file in pieces: the rows, lists, counts and messages of the file as a whole."""

import gc
import gzip
import weakref
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from lit_mlfund.data.reading import letor, read, scan, write
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.serving.batch import ListBatch
from lit_mlfund.datamodules import ImagesDataModule, LetorDataModule, TableDataModule, TextDataModule
from tests.datamodules.test_table import OTHERS, frame

FORMATS = {
    "parquet": lambda table, path: table.write_parquet(path, row_group_size=16),
    "csv": lambda table, path: table.write_csv(path),
    "arrow": lambda table, path: table.write_ipc(path),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(scan, "LARGE", 0)
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


def lists_file(path, together=True):
    """300 documents of 60 queries; a feature that no document of the training file has, and comments."""
    rng = np.random.default_rng(0)
    lines = [
        f"{n % 3} qid:{n // 5 if together else n % 60} 1:{rng.normal():.3f} {2 + n % 2}:{n % 5} # document {n}\n"
        for n in range(300)
    ]
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as file:
        file.write("# a comment\n\n" + "".join(lines))
    return str(path)


@pytest.fixture
def ranked(tmp_path, monkeypatch):
    monkeypatch.setattr(letor, "CHUNK", 1000)
    data = LetorDataModule(batch_size=4, seed=0, path=lists_file(tmp_path / "train.txt"), per_query="append")
    data.setup()
    return data


@pytest.mark.parametrize("ending", ["txt", "gz"])
def test_lines_of_documents(tmp_path, ranked, ending):
    assert assert_as_a_whole(ranked, lists_file(tmp_path / f"new.{ending}")) >= 8
    assert assert_as_a_whole(ranked, lists_file(tmp_path / f"new.{ending}"), need_target=False) >= 8
    apart = lists_file(tmp_path / f"apart.{ending}", together=False)
    assert assert_as_a_whole(ranked, apart) == 1  # the rows of a query lie apart: read as a whole


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 qid:50 1:x\n", r"new.txt: line 253: expected 'relevance qid:query .*', found '1 qid:50 1:x'"),
        ("1 qid:50 1:inf\n", r"new.txt: column 'f1': infinite values: row 251"),
        ("1 qid:999\n", r"new.txt: query 999 has no documents: its lines list no feature: row 251"),
    ],
)
def test_a_bad_line_is_named_by_its_place_in_the_file(tmp_path, ranked, monkeypatch, line, message):
    path = Path(lists_file(tmp_path / "new.txt"))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:252], line, *lines[252:]]))
    for large in (0, 2**26):
        monkeypatch.setattr(scan, "LARGE", large)
        with pytest.raises(DataError, match=message):
            list(ranked.new_pieces(str(path), need_target=False))


def test_a_torn_file_of_lines(tmp_path, ranked, monkeypatch):
    path = Path(lists_file(tmp_path / "new.gz"))
    path.write_bytes(path.read_bytes()[:-500])
    for large in (0, 2**26):
        monkeypatch.setattr(scan, "LARGE", large)
        with pytest.raises(DataError, match=r"new.gz: .*ended before the end-of-stream marker"):
            list(ranked.new_pieces(str(path), need_target=False))


@pytest.mark.parametrize("form", ["folder", "bytes", "paths", "pixels"])
def test_images(tmp_path, form):
    values = np.random.default_rng(0).integers(0, 256, (100, 5, 5), dtype=np.uint8)
    for n, pixels in enumerate(values):
        file = tmp_path / "images" / ("cat" if n % 3 else "dog") / f"{n:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    path = str(tmp_path / "images")
    if form != "folder":
        files = sorted((tmp_path / "images").glob("*/*.png"))
        columns = {"image": [file.read_bytes() if form == "bytes" else str(file) for file in files]}
        if form == "pixels":
            flat = values.reshape(100, 25)
            columns = {f"p{n}": flat[:, n] for n in range(25)}
        path = str(tmp_path / "images.parquet")
        pl.DataFrame({**columns, "label": [file.parent.name for file in files]}).write_parquet(path)
    data = ImagesDataModule(task="binary", path=path, batch_size=8)
    data.setup()
    assert assert_as_a_whole(data, path) == 4
    assert assert_as_a_whole(data, path, need_target=False) == 4


def test_large_images_and_long_texts_come_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "CHUNK", 2**16)
    rng = np.random.default_rng(0)
    long = [rng.bytes(2**13) for _ in range(64)]
    pl.DataFrame({"body": long}).write_parquet(tmp_path / "t.parquet", compression="uncompressed")
    pieces = list(scan.Scan.open(str(tmp_path / "t.parquet")).pieces())
    assert sum(map(len, pieces)) == 64 and max(map(len, pieces)) <= 8
    wide = scan.Scan.open(str(tmp_path / "t.parquet"), cells=scan.PIECE // 3)
    assert max(map(len, wide.pieces())) == 3


def test_what_was_served_is_not_kept(tmp_path):
    data = fitted(tmp_path, "binary", "late")
    path = str(tmp_path / "new.parquet")
    frame(120).write_parquet(path)
    gc.disable()  # as between two collections
    try:
        served = [weakref.ref(loader.store) for loader, _ in data.new_pieces(path, need_target=False)]
        assert len(served) == 4 and not any(store() for store in served[:-1])
    finally:
        gc.enable()


def test_a_compressed_table_is_known_by_what_it_becomes(tmp_path):
    path = str(tmp_path / "zeros.parquet")
    pl.DataFrame({"x": np.zeros(100_000), "y": np.zeros(100_000)}).write_parquet(path)
    assert Path(path).stat().st_size < 10_000 and read.memory_size(path) == 1_600_000
    assert read.memory_size(path, row=100) == 10_000_000


def test_tables_are_written_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "GROUP", 10_000)
    whole = frame(2_000)
    for ending, reader in (
        ("parquet", pl.read_parquet),
        ("csv", lambda path: pl.read_csv(path, schema=whole.schema)),
    ):
        with write.table_writer(str(tmp_path / f"x.{ending}")) as writer:
            for part in whole.iter_slices(130):
                writer.write(part)
        assert reader(tmp_path / f"x.{ending}").equals(whole)
        assert [file.name for file in tmp_path.iterdir()] == [f"x.{ending}"]
        (tmp_path / f"x.{ending}").unlink()
