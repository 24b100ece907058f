"""data.cache: the rows, batches and messages of a table in memory, from a file on the disk."""

import json
import os
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lit_mlfund.data.disk import streaming_fit
from lit_mlfund.data.reading import scan
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.serving import loader
from lit_mlfund.data.serving.mapped import MappedListStore, MappedStore
from lit_mlfund.datamodules import TableDataModule
from tests.datamodules.test_table import BAD, SIZE, frame, module

SPLITS = ("train", "val", "test")


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "MAX_ROWS", 32)  # several pieces of 200 rows
    frame().write_parquet(tmp_path / "x.parquet", row_group_size=50)
    return str(tmp_path / "x.parquet")


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "caches")


def assert_same(one, other):
    assert one.x.keys() == other.x.keys()
    pairs = [(one.x[name], other.x[name]) for name in one.x]
    pairs += [(one.y, other.y), (one.index, other.index), (one.weight, other.weight)]
    for left, right in pairs:
        if left is None or right is None:
            assert left is right
        else:
            assert left.dtype == right.dtype and torch.equal(left, right)
            assert left.is_contiguous()


@pytest.mark.parametrize(
    ("task", "target", "weight"),
    [("binary", "late", None), ("multiclass", "kind", "importance"), ("regression", "minutes", "importance")],
)
def test_the_rows_of_memory(path, root, task, target, weight):
    memory = module(path, task, target, weight=weight, time="day")
    cached = module(path, task, target, weight=weight, time="day", cache=root)
    for split in SPLITS:
        assert isinstance(cached.stores[split], MappedStore)
        assert_same(cached.whole(split), memory.whole(split))
        for one, other in zip(cached.loader(split, 7), memory.loader(split, 7), strict=True):
            assert_same(one, other)
    assert cached.spec.inputs == memory.spec.inputs and cached.spec.classes == memory.spec.classes
    assert cached.spec.target_mean == pytest.approx(memory.spec.target_mean, rel=1e-12)
    assert cached.spec.target_std == pytest.approx(memory.spec.target_std, rel=1e-12)
    same = ("rows", "columns", "imputed_cells", "unknown_categories")
    assert {name: cached.summary[name] for name in same} == {name: memory.summary[name] for name in same}
    seen = torch.cat([batch.index for batch in cached.train_dataloader()])
    assert sorted(seen.tolist()) == sorted(memory.whole("train").index.tolist())


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "arrow"])
def test_every_format(path, root, tmp_path, ending):
    data = frame()
    file = str(tmp_path / f"x.{ending}")
    if ending == "arrow":
        data.write_ipc(file)
    else:
        data.write_csv(
            file,
            separator="\t" if ending == "tsv" else ",",
            compression="gzip" if ending[-1] == "z" else "uncompressed",
        )
    cached, memory = (module(file, "binary", "late", time="day", cache=cache) for cache in (root, None))
    for split in SPLITS:
        assert_same(cached.whole(split), memory.whole(split))


def list_frame() -> pl.DataFrame:
    """30 lists of 1 to 13 documents, side by side; a list is of one day."""
    sizes = np.random.default_rng(0).integers(1, 11, 30)
    sizes[-1] += SIZE - sizes.sum()
    number = np.repeat(np.arange(30), sizes)
    days = pl.Series(number).cast(pl.Int64) * 86400 * 10**6
    queries = pl.Series([f"q{n * 7 % 30}" for n in number])
    return frame().with_columns(user=queries, day=days.cast(pl.Datetime("us")).cast(pl.Date))


def lists(batches):
    """Query by its first row -> all that a batch holds of it."""
    found = {}
    for batch in batches:
        for n in range(len(batch)):
            real = batch.mask[n]
            values = [batch.relevance[n][real], *(x[n][real].flatten().float() for x in batch.x.values())]
            values += [] if batch.weight is None else [batch.weight[n][None]]
            found[int(batch.index[n][0])] = torch.cat(values)
    return found


def assert_same_lists(one, other):
    assert one.keys() == other.keys()
    for row, values in one.items():
        torch.testing.assert_close(values, other[row])


@pytest.mark.parametrize("per_query", ["none", "replace", "append"])
def test_lists(tmp_path, root, monkeypatch, per_query):
    monkeypatch.setattr(scan, "MAX_ROWS", 32)
    path = str(tmp_path / "lists.parquet")
    list_frame().write_parquet(path, row_group_size=50)
    options = {"query": "user", "time": "day", "weight": "importance", "per_query": per_query}
    memory, cached = (module(path, "ranking", "grade", cache=cache, **options) for cache in (None, root))
    assert cached.spec == memory.spec
    same = ("rows", "queries", "longest_list", "columns", "imputed_cells", "target")
    assert {name: cached.summary[name] for name in same} == {name: memory.summary[name] for name in same}
    for split in SPLITS:
        assert isinstance(cached.stores[split], MappedListStore)
        assert_same_lists(lists(cached.loader(split, 3)), lists(memory.loader(split, 3)))
        assert_same_lists(lists([cached.whole(split)]), lists([memory.whole(split)]))
    assert_same_lists(lists(cached.train_dataloader()), lists(memory.train_dataloader()))


def test_lists_of_a_length_share_a_batch_and_resume(tmp_path, root, monkeypatch):
    monkeypatch.setattr(loader, "BlockOrder", partial(loader.BlockOrder, window=4))
    path = str(tmp_path / "lists.parquet")
    sizes = np.random.default_rng(0).integers(1, 40, 600)
    rng = np.random.default_rng(1)
    pl.DataFrame(
        {"q": np.repeat(np.arange(600), sizes), "x": rng.normal(size=sizes.sum()), "y": rng.integers(0, 3, sizes.sum())}
    ).write_parquet(path)  # fmt: skip
    data = TableDataModule(
        batch_size=8, seed=0, task="ranking", path=path, target="y", query="q", categorical=["q"], cache=root
    )  # fmt: skip
    data.setup()
    store = data.stores["train"]
    monkeypatch.setattr(type(store), "block", 20)
    served = data.train_dataloader()
    served.lengths = None
    apart = sum(batch.mask.numel() for batch in served)
    served = data.train_dataloader()
    batches = [batch.query.tolist() for batch in served]
    assert sorted(sum(batches, [])) == list(range(len(store)))  # noqa: RUF017
    assert all(len(batch) == 8 for batch in batches[:-1])
    served.set_epoch(0)
    padded = sum(batch.mask.numel() for batch in served)
    assert padded < 0.8 * apart and padded < 1.35 * store.num_rows
    for begin in (1, 11, 30):
        again = data.train_dataloader()
        again.load_state_dict({"epoch": 0, "position": begin})
        assert [batch.query.tolist() for batch in again] == batches[begin:]
    ranks = [data.train_dataloader() for _ in range(2)]
    for rank, part in enumerate(ranks):
        part.rank, part.world_size, part.batch_size = rank, 2, 4
    for whole, *parts in zip(batches[:-1], *([b.query.tolist() for b in part] for part in ranks)):
        assert [q for pair in zip(*parts) for q in pair] == whole


def test_wrong_lists(tmp_path, root):
    path = str(tmp_path / "lists.parquet")
    words = pl.Series(["train"] * 99 + ["val"] * 50 + ["test"] * 51)
    list_frame().with_columns(part=words).write_parquet(path)
    with pytest.raises(DataError, match=r"'user': list 'q\d+' lies in more than one split: rows? 100"):
        module(path, "ranking", "grade", query="user", split="part", cache=root)
    list_frame().with_columns(user=pl.when(pl.col("late").cum_count() == 7).then(None).otherwise("user")).write_parquet(path)  # fmt: skip  # noqa: E501
    with pytest.raises(DataError, match=r"column 'user': .* is missing: row 7"):
        module(path, "ranking", "grade", query="user", cache=root)


def test_drawn_splits(path, root):
    random = module(path, "binary", "late", cache=root, val_fraction=0.2, test_fraction=0.3)
    rows = {split: random.whole(split).index.tolist() for split in SPLITS}
    assert sorted(rows["train"] + rows["val"] + rows["test"]) == list(range(SIZE))
    assert 25 <= len(rows["val"]) <= 55 and 40 <= len(rows["test"]) <= 80
    other = module(path, "binary", "late", cache=root, val_fraction=0.2, test_fraction=0.3, split_seed=1)
    assert other.whole("test").index.tolist() != rows["test"]
    users = frame()["user"]
    grouped = module(path, "binary", "late", cache=root, group="user")
    parts = [set(users[grouped.whole(split).index.numpy()]) for split in SPLITS]
    assert sum(map(len, parts)) == users.n_unique() and set.union(*parts) == set(users)


def test_a_column_and_own_files(path, root, tmp_path):
    words = pl.Series([["train", "val", "Test", "train"][n % 4] for n in range(SIZE)])
    parts = str(tmp_path / "parts.parquet")
    frame().with_columns(part=words).write_parquet(parts)
    said, memory = (module(parts, "binary", "late", split="part", cache=cache) for cache in (root, None))
    assert said.summary["rows"] == memory.summary["rows"] == {"train": 100, "val": 50, "test": 50}
    for split in SPLITS:
        assert_same(said.whole(split), memory.whole(split))
    val = str(tmp_path / "val.csv")
    frame(50).write_csv(val)
    own, memory = (
        module(path, "multiclass", "kind", val_path=val, time="day", cache=cache) for cache in (root, None)
    )
    for split in SPLITS:
        assert_same(own.whole(split), memory.whole(split))


def test_fitted_on_a_sample(path, root, monkeypatch):
    monkeypatch.setattr(streaming_fit, "SAMPLE_ROWS", (40, 40))
    cached = module(path, "regression", "minutes", time="day", cache=root, min_count=14)
    memory = module(path, "regression", "minutes", time="day", min_count=14)
    assert (
        "fitted on" in cached.summary["notes"][-1] and "of 140 training rows" in cached.summary["notes"][-1]
    )
    mine, theirs = cached.fitted, memory.fitted
    assert mine.features.categorical == theirs.features.categorical  # counted on all rows
    assert mine.target.mean == pytest.approx(theirs.target.mean)
    assert mine.target.std == pytest.approx(theirs.target.std)
    for one, other in zip(mine.features.numeric, theirs.features.numeric):
        assert one.name == other.name and abs(one.mean - other.mean) < 0.5 * other.std


def test_found_again_and_made_anew(path, root):
    def note(**kwargs):
        return module(path, "binary", "late", cache=root, **kwargs).summary["notes"][-1]

    assert note().endswith("made now") and not note().endswith("now")
    assert note(min_count=7).endswith("made now")
    with open(os.path.join(note().split("cache ")[1], "train.numeric"), "rb+") as file:
        file.seek(100)
        file.write(b"\xff\xff")
    assert note().endswith("made now, as train.numeric was damaged") and not note().endswith("damaged")
    frame(150).write_parquet(path)
    data = module(path, "binary", "late", cache=root)
    assert sum(data.summary["rows"].values()) == 150
    assert sum(entry.is_dir() for entry in os.scandir(root)) == 1  # those of the earlier file are gone


def test_a_restored_encoder_is_used(path, root):
    data = module(path, "binary", "late", cache=root)
    state = data.state_dict()

    def place(module):
        return module.summary["notes"][1].removesuffix(", made now")

    def restored():
        again = TableDataModule(
            batch_size=16, seed=0, task="binary", path=path, target="late", cache=root,
            exclude=data.roles.exclude,
        )  # fmt: skip
        again.load_state_dict(state)
        again.setup()
        return again

    assert place(restored()) == place(data)  # made with this very encoder
    frame().with_columns(pl.col("x") * 1000).write_parquet(path)
    other = restored()
    assert other.state_dict() == state
    assert other.whole("train").x["numeric"][:, 0].abs().max() == 10  # cut, as by the restored scale
    assert place(restored()) == place(other)


def test_a_source_that_changes_is_named(path, root):
    data = module(path, "binary", "late", cache=root)
    loader = data.train_dataloader()
    first = [batch.index.tolist() for batch in loader]
    frame(150).write_parquet(path)
    with pytest.warns(UserWarning, match=r"x.parquet has \d+ bytes instead of \d+ since this run read it"):
        second = [batch.index.tolist() for batch in loader]
    assert sorted(sum(first, [])) == sorted(sum(second, []))  # noqa: RUF017
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(loader)  # told once


def test_a_source_that_changes_while_it_is_read(path, root, monkeypatch):
    from lit_mlfund.data.disk import cached_table

    def meddle(*args, **kwargs):
        os.utime(path, ns=(1, 1))
        return streaming_fit.fit_scan(*args, **kwargs)

    monkeypatch.setattr(cached_table, "fit_scan", meddle)
    with pytest.raises(DataError, match=r"x.parquet: the file changed while it was read: it was written to"):
        module(path, "binary", "late", cache=root)


def test_a_source_that_is_written_to_and_torn_by_it(path, root, monkeypatch):
    from lit_mlfund.data.disk import cached_table

    def meddle(*args, **kwargs):
        os.utime(path, ns=(1, 1))
        raise DataError("the target is missing")  # in half a row, say

    monkeypatch.setattr(cached_table, "convert", meddle)
    with pytest.raises(DataError, match=r"x.parquet: the file changed while it was read: it was written to"):
        module(path, "binary", "late", cache=root)


def test_resumed_in_the_middle(path, root):
    data = module(path, "binary", "late", cache=root)
    whole = [batch.index.tolist() for batch in data.train_dataloader()]
    loader = data.train_dataloader()
    passing = iter(loader)
    head = [next(passing).index.tolist() for _ in range(3)]
    again = module(path, "binary", "late", cache=root).train_dataloader()
    again.load_state_dict(loader.state_dict())
    assert head + [batch.index.tolist() for batch in again] == whole


def test_a_sample(path, root):
    store = module(path, "binary", "late", cache=root).stores["train"]
    sample = store.sample(20, seed=1)
    assert len(sample) == 20 and len(store.sample(10**6)) == len(store)
    rows = sample.index.tolist()
    assert rows == sorted(set(rows)) and rows != store.sample(20, seed=2).index.tolist()
    expected = store.batch(torch.arange(3, 9)).x
    assert all(torch.equal(values, expected[name]) for name, values in store.inputs(3, 9).items())
    assert_same(store.to("cpu"), store.batch(torch.arange(len(store))))


@pytest.mark.parametrize(
    "name", [n for n in BAD if n not in ("empty query", "no documents", "negative grade")]
)
def test_bad_input(tmp_path, root, name):
    spoil, kwargs, message = BAD[name]
    path = str(tmp_path / "bad.parquet")
    spoil(frame()).write_parquet(path)
    message = message.partition(": rows 1, 2")[0]  # which of these rows are in train is another matter here
    with pytest.raises(DataError, match=message) as error:
        module(path, **{"task": "binary", "target": "late", "cache": root, **kwargs})
    assert str(error.value).startswith(path) and "\n" not in str(error.value)
    assert not [entry for entry in os.scandir(root) if entry.is_dir()]


def test_what_a_cache_is_not_for(path, root, tmp_path):
    with pytest.raises(
        DataError, match=r"'user': with data.cache the rows of a list must stand side by side"
    ):
        module(path, "ranking", "grade", query="user", cache=root)
    small = module(path, "binary", "late", cache="auto")
    assert not isinstance(small.stores["train"], MappedStore)
    stream = str(tmp_path / "stream.arrow")
    frame().write_ipc_stream(stream)
    with pytest.raises(DataError, match=r"stream.arrow: cannot be read"):
        module(stream, "binary", "late", cache=root)
    with pytest.raises(DataError, match=r"no column 'part'"):
        module(path, "binary", "late", split="part", cache=root)


def test_auto_is_for_large_files(path, root, monkeypatch):
    from lit_mlfund.data.disk import cached_table

    monkeypatch.setattr(cached_table, "AUTO_BYTES", 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", root)
    data = module(path, "binary", "late", cache="auto")
    assert f"rows: from the cache {root}/lit_mlfund/tables/x_parquet-rows-" in data.summary["notes"][1]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["parquet", "csv", "arrow"])
def test_ten_times_the_memory(tmp_path, ending):
    limit, rows, width = 64 * 2**20, 2_100_000, 40
    assert rows * width * 8 > 10 * limit  # as a table in memory
    rng = np.random.default_rng(0)
    values = rng.integers(0, 100, (10_500, width)) if ending == "csv" else rng.normal(size=(10_500, width))
    part = pl.DataFrame(values, [f"x{n}" for n in range(width)])
    part = part.with_columns(y=pl.Series(rng.integers(0, 2, part.height)))
    path = tmp_path / f"large.{ending}"
    if ending == "csv":
        with open(path, "wb") as file:
            for number in range(200):
                part.write_csv(file, include_header=number == 0)
    elif ending == "arrow":
        pl.concat([part] * 200, rechunk=False).write_ipc(path, compression="lz4", record_batch_size=2_000)
    else:
        pl.concat([part] * 200, rechunk=False).write_parquet(path, row_group_size=1_500, compression="lz4")
    program = [sys.executable, "-m", "tests.datamodules.larger_than_memory", str(path), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    root = Path(__file__).parents[2]
    told = subprocess.run(program, capture_output=True, text=True, env=environment, cwd=root)
    assert told.returncode == 0, told.stderr
    seen = json.loads(told.stdout)
    assert seen["rows"] == rows and seen["grown"] < limit, f"{seen['grown'] / 2**20:.0f} MiB"
