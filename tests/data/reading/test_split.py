"""Splits: shares of the rows, nothing in two of them, nothing of tomorrow in yesterday."""

import datetime

import numpy as np
import polars as pl
import pytest

from lit_mlfund.data.reading import split
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.split import (
    split_at_random,
    split_by_column,
    split_by_group,
    split_by_time,
    split_table,
)
from lit_mlfund.data.reading.table import Table

SHARES = {"val": 0.2, "test": 0.1}


def check(splits, size, tolerance=0.02):
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(size))
    assert list(splits) == ["train", "val", "test"]
    for name, share in SHARES.items():
        assert abs(len(splits[name]) / size - share) <= tolerance
    assert all((np.diff(index) > 0).all() for index in splits.values())


def test_by_time():
    times = np.random.default_rng(0).permutation(1000) // 3
    splits = split_by_time(times, SHARES)
    check(splits, 1000)
    assert times[splits["train"]].max() < times[splits["val"]].min()
    assert times[splits["val"]].max() < times[splits["test"]].min()


def test_by_time_with_groups_kept_together():
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 200, 1000))
    times = groups * 10.0 + rng.integers(0, 9, 1000)
    splits = split_by_time(times, SHARES, groups)
    check(splits, 1000)
    assert not set(groups[splits["train"]]) & set(groups[splits["val"]])
    assert not set(groups[splits["val"]]) & set(groups[splits["test"]])
    assert times[splits["train"]].max() < times[splits["test"]].max()


def test_by_group():
    groups = np.random.default_rng(0).integers(0, 200, 1000)
    splits = split_by_group(groups, SHARES, seed=1)
    check(splits, 1000)
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not set(groups[splits[a]]) & set(groups[splits[b]])
    assert not np.array_equal(split_by_group(groups, SHARES, seed=2)["test"], splits["test"])


def test_at_random_stratified_by_class():
    classes = np.repeat([0, 1, 2], [900, 99, 1])
    splits = split_at_random(1000, SHARES, seed=0, classes=classes)
    check(splits, 1000)
    assert np.bincount(classes[splits["val"]]).tolist() == [180, 20]
    assert np.bincount(classes[splits["test"]]).tolist() == [90, 10]
    assert 999 in splits["train"]  # the only one of its class
    again = split_at_random(1000, SHARES, seed=0, classes=classes)
    assert all(np.array_equal(again[name], splits[name]) for name in splits)


@pytest.mark.parametrize("block", [5, 2**16])
@pytest.mark.parametrize("shares", [{"val": 0.15, "test": 0.15}, {"val": 0.4, "test": 0.5}, {"val": 0.05}])
def test_rare_classes_are_in_every_split(
    monkeypatch: pytest.MonkeyPatch, shares: dict[str, float], block: int
) -> None:
    monkeypatch.setattr(split, "BLOCK", block)
    sizes = [300, 1, 2, 3, 4, 5, 3, 2]
    classes = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    for seed in range(5):
        splits = split_at_random(len(classes), shares, seed=seed, classes=classes)
        assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(classes)))
        found = np.array([np.bincount(classes[rows], minlength=len(sizes)) for rows in splits.values()])
        assert (found[0] > 0).all()  # train has them all
        for code, size in enumerate(sizes):
            assert size < len(splits) or (found[:, code] > 0).all()
    # of five rows and more, the shares decide
    if shares["val"] == 0.15:
        assert found[:, 5].tolist() == [3, 1, 1] and found[:, 4].tolist() == [2, 1, 1]
        assert found[:, 0].tolist() == [210, 45, 45]


def test_only_requested_splits():
    assert list(split_at_random(10, {"val": 0.5}, seed=0)) == ["train", "val"]
    assert split_at_random(10, {}, seed=0)["train"].tolist() == list(range(10))
    assert split_by_time(np.arange(10), {})["train"].tolist() == list(range(10))


def test_impossible_shares():
    for shares in ({"val": 0.0}, {"val": 0.6, "test": 0.4}, {"val": -0.1}):
        with pytest.raises(ValueError, match="fractions must be positive and leave something for train"):
            split_at_random(10, shares, seed=0)


def test_of_a_table():
    start = datetime.date(2013, 1, 1)
    days = [start + datetime.timedelta(days=n) for n in range(100)]
    frame = pl.DataFrame({"day": days[::-1], "n": range(100), "user": [f"u{n // 10}" for n in range(100)]})
    table = Table.of(frame, "x.csv")
    splits = split_table(table, SHARES, seed=0, time="day")
    assert splits["test"].rows.tolist() == list(range(10))
    assert splits["test"].source == "x.csv (test)"
    assert split_table(table, SHARES, seed=0, time="n")["test"].rows.tolist() == list(range(90, 100))
    users = {
        name: set(part.frame["user"])
        for name, part in split_table(table, SHARES, seed=0, group="user").items()
    }
    assert {name: len(values) for name, values in users.items()} == {"train": 7, "val": 2, "test": 1}
    classes = split_table(table, SHARES, seed=0, classes="user")
    assert set(classes["val"].frame["user"].value_counts()["count"]) == {2}


@pytest.mark.parametrize(
    ("column", "how", "message"),
    [
        (
            ["2013-01-01", None, "2013-01-03"],
            "time",
            "x.csv: column 'c': the split follows .* missing: row 2",
        ),
        (["a", "b", None], "group", "x.csv: column 'c': the split follows .* missing: row 3"),
        ([1, 1, 1], "time", "x.csv: the train split is empty"),
        ([1, 1, 1], "group", r"x.csv: the .* split is empty \(only 1 groups\)"),
    ],
)
def test_columns_that_cannot_split(column, how, message):
    with pytest.raises(DataError, match=message):
        split_table(Table.of(pl.DataFrame({"c": column}), "x.csv"), SHARES, seed=0, **{how: "c"})


def test_too_few_rows():
    with pytest.raises(DataError, match=r"x.csv: the val split is empty"):
        split_table(Table.of(pl.DataFrame({"c": [1, 2]}), "x.csv"), {"val": 0.1}, seed=0)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_by_the_labels_of_a_column(dtype):
    words = ["train", " Test", "validation", "TRAIN", "dev", "val", "train", "valid"]
    table = Table.of(
        pl.DataFrame({"c": pl.Series(words, dtype=dtype), "q": [1, 2, 3, 1, 4, 3, 5, 6]}), "x.csv"
    )
    splits = split_by_column(table, "c", "q")
    assert {name: part.rows.tolist() for name, part in splits.items()} == {
        "train": [0, 3, 6],
        "val": [2, 4, 5, 7],
        "test": [1],
    }
    assert splits["val"].source == "x.csv (val)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", None, "val", "test"], "column 'c': the split of the row is missing: row 2"),
        (
            ["train", "tset", "val", "x"],
            "column 'c': the split of a row must be train, val or test, not 'tset': rows 2, 4",
        ),
        ([1, 1, 2, 3], "column 'c': .* not '1': rows 1, 2, 3, 4"),
        (["train", "train", "val", "val"], "column 'c': no row has the value 'test'"),
        (["train", "val", "test", "test"], "column 'c': q 'a' lies in more than one split: rows 2, 3"),
    ],
)
def test_columns_without_valid_split_labels(words, message):
    table = Table.of(pl.DataFrame({"c": words, "q": ["a", "a", "a", "b"]}), "x.csv")
    with pytest.raises(DataError, match=f"^x.csv: {message}$"):
        split_by_column(table, "c", "q")
