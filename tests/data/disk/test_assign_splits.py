"""A row is in the same split whether its table is held in memory or cached on disk."""

from __future__ import annotations

import datetime
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lit_mlfund.data.disk.assign_splits import split_assigner
from lit_mlfund.data.reading import scan, split
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.scan import Scan
from lit_mlfund.data.reading.split import SPLITS, split_at_random, split_by_group
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.batch import ListBatch
from lit_mlfund.data.serving.mapped import MappedListStore, MappedStore
from lit_mlfund.datamodules import TableDataModule

SIZE = 997
ODD = {"val_fraction": 0.137, "test_fraction": 0.291}
EARLY = {"val_fraction": 0.4, "test_fraction": 0.3}
USERS = ["ä", "a", "B", "", "zz", "a long name of a user", "10", "9", "日本"]


def frame() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    day = rng.integers(0, 40, SIZE)  # about 25 rows share a day
    return pl.DataFrame(
        {
            "x": rng.normal(size=SIZE),
            "late": rng.random(SIZE) < 0.2,
            "kind": [f"k{min(n, 6)}" for n in rng.geometric(0.3, SIZE)],
            "minutes": rng.normal(size=SIZE),
            "grade": rng.integers(0, 3, SIZE),
            "day": [datetime.date(2013, 1, 1) + datetime.timedelta(days=int(n)) for n in day],
            "hour": day.astype(float) + 0.5,
            "user": [f"{USERS[n % len(USERS)]}{n // 30}" for n in rng.integers(0, 300, SIZE)],
            "number": rng.integers(0, 90, SIZE) / 2,  # labels such as 3 and 3.5
            "query": [f"q{n * 7 % 120}" for n in np.sort(rng.integers(0, 120, SIZE))],
            "part": [["train", "val", "Test", "train", "dev"][n % 5] for n in range(SIZE)],
        }
    )


TARGETS = {"binary": "late", "multiclass": "kind", "regression": "minutes", "ranking": "grade"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "at random, two classes": ("binary", {}),
    "at random, rare classes": ("multiclass", ODD),
    "at random, no classes": ("regression", ODD),
    "at random, another seed": ("binary", {"split_seed": 5, **ODD}),
    "at random, large shares": ("regression", {"val_fraction": 1 / 3, "test_fraction": 0.6}),
    "by time with ties": ("binary", {"time": "day"}),
    "by time with ties, odd shares": ("regression", {"time": "day", **ODD}),
    "by time as a number": ("multiclass", {"time": "hour", **ODD}),
    "by time, groups together": ("regression", {"time": "hour", "group": "number", **EARLY}),
    "by group": ("binary", {"group": "user"}),
    "by group, odd shares": ("regression", {"group": "user", "split_seed": 3, **ODD}),
    "by group of numbers": ("multiclass", {"group": "number", **ODD}),
    "by query": ("ranking", {"query": "query", **ODD}),
    "by a column": ("binary", {"split": "part"}),
}


@pytest.fixture(params=["parquet", "csv"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small file that is read in many pieces, and whose rows are drawn in many blocks."""
    monkeypatch.setattr(scan, "MAX_ROWS", 64)
    monkeypatch.setattr(split, "BLOCK", 100)
    file = tmp_path / f"x.{request.param}"
    if request.param == "csv":
        frame().write_csv(file)
    else:
        frame().write_parquet(file, row_group_size=50)
    return str(file)


def rows(path: str, task: str, cache: Path | None, **options: Any) -> dict[str, list[int]]:
    """Set up the data once and return the sorted row numbers of each split."""
    data = TableDataModule(
        batch_size=64,
        seed=0,
        task=task,
        path=path,
        target=TARGETS[task],
        exclude=[name for name in ("late", "kind", "minutes", "grade", "part") if name != TARGETS[task]],
        cache=None if cache is None else str(cache),
        **options,
    )
    data.setup()
    stored = isinstance(data.stores["train"], MappedStore | MappedListStore)
    assert stored == (cache is not None)
    found = {}
    for name in SPLITS:
        batch = data.whole(name)
        index = batch.index[batch.mask] if isinstance(batch, ListBatch) else batch.index
        found[name] = sorted(index.tolist())
    return found


@pytest.mark.parametrize("case", CASES)
def test_splits_of_memory_and_disk_have_the_same_rows(path: str, tmp_path: Path, case: str) -> None:
    task, options = CASES[case]
    memory, disk = (rows(path, task, cache, **options) for cache in (None, tmp_path / "cache"))
    assert disk == memory
    assert sorted(itertools.chain(*memory.values())) == list(range(SIZE))
    assert all(memory.values())


@pytest.mark.parametrize("own", ["val", "test"])
@pytest.mark.parametrize("options", [{}, {"time": "day"}, {"group": "user"}], ids=str)
def test_one_split_in_a_file_of_its_own(path: str, tmp_path: Path, own: str, options: dict[str, str]) -> None:
    other = tmp_path / "own.parquet"
    frame()[:60].write_parquet(other)
    options = {**options, f"{own}_path": str(other)}
    memory, disk = (rows(path, "binary", cache, **options) for cache in (None, tmp_path / "cache"))
    assert disk == memory
    assert memory[own] == list(range(60)) and all(memory.values())


def test_both_splits_in_files_of_their_own(path: str, tmp_path: Path) -> None:
    other = str(tmp_path / "own.parquet")
    frame()[:60].write_parquet(other)
    disk = rows(path, "binary", tmp_path / "cache", val_path=other, test_path=other)
    assert disk["train"] == list(range(SIZE)) and disk["val"] == list(range(60))


@pytest.mark.parametrize("block", [1, 7, 100, 2**16])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_a_draw_in_blocks_is_that_of_one_sorted_permutation(
    monkeypatch: pytest.MonkeyPatch, block: int, dtype: type
) -> None:
    """Splits in memory have always been drawn by this formula, but for classes that it leaves out of a split."""
    monkeypatch.setattr(split, "BLOCK", block)
    shares = {"val": 0.137, "test": 0.291}
    for size, num_classes, seed in ((400, 1, 0), (257, 5, 3), (90, 40, 11)):
        classes = np.random.default_rng(1).integers(0, num_classes, size)
        order = np.random.default_rng(seed).permutation(size)
        by_class = order[np.argsort(classes[order], kind="stable")]
        counts = np.bincount(classes)
        start = np.repeat(np.cumsum(counts) - counts, counts)
        within = (np.arange(size) - start + 0.5) / np.repeat(counts, counts)
        expected = np.empty(size, dtype=int)
        expected[by_class] = np.searchsorted(split.split_starts(shares)[1:], within, side="right")
        for label in np.flatnonzero(
            counts == 3
        ):  # now one of them in each split, in the order that was drawn
            expected[by_class[np.cumsum(counts)[label] - 3 :][:3]] = [0, 1, 2]
        drawn = split_at_random(size, shares, seed, classes.astype(dtype))
        for code, name in enumerate(SPLITS):
            assert drawn[name].tolist() == np.flatnonzero(expected == code).tolist()


def test_drawn_rows_and_groups_stay_those_of_earlier_versions() -> None:
    shares = {"val": 0.2, "test": 0.2}
    assert split_at_random(20, shares, 0)["test"].tolist() == [1, 9, 14, 15]
    assert split_at_random(20, shares, 0, np.arange(20) % 2)["test"].tolist() == [1, 14, 15, 18]
    assert split_by_group(np.arange(20) // 2, shares, 0)["test"].tolist() == [2, 3, 16, 17]


def test_labels_with_equal_hashes_are_told_apart(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = split.split_table(Table.read(path), {"test": 0.3}, seed=0, group="user")["test"].rows
    hash_of = pl.Series.hash
    seeds = set()

    def colliding(labels: pl.Series, seed: int = 0) -> pl.Series:
        seeds.add(seed)
        return hash_of(labels, seed) if seed > 1 else hash_of(labels, seed) % 16

    monkeypatch.setattr(pl.Series, "hash", colliding)
    scanned = Scan.open(path)
    assign = split_assigner(scanned, {"test": 0.3}, seed=0, target="late", stratified=True, group="user")
    codes = np.concatenate([assign(piece) for piece in scanned.pieces(["user"])])
    assert seeds == {0, 1, 2}
    assert np.flatnonzero(codes == SPLITS.index("test")).tolist() == expected.tolist()


def test_a_group_that_is_missing_is_named(path: str, tmp_path: Path) -> None:
    file = str(tmp_path / "missing.parquet")
    users = [None if n == 70 else "u" for n in range(SIZE)]
    frame().with_columns(user=pl.Series(users)).write_parquet(file)
    with pytest.raises(DataError, match=r"column 'user': the split follows this column, .* missing: row 71"):
        rows(file, "binary", tmp_path / "cache", group="user")


@pytest.mark.parametrize("group", [None, "number"])
def test_rows_of_a_file_that_grows_do_not_fail_before_it_is_refused(path: str, group: str | None) -> None:
    scanned = Scan.open(path)
    assign = split_assigner(
        scanned, {"val": 0.2, "test": 0.2}, seed=0, target="late", stratified=True, group=group
    )
    (first, *_) = scanned.pieces([*assign.columns, "late"])
    beyond = Table(
        pl.DataFrame({"number": [1e9], "late": [True]}), path, np.array([SIZE + 5])
    )  # a row that was not there
    assert assign(beyond).shape == (1,)
    assert assign(first).dtype == np.int8
