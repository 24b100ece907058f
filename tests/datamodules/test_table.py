"""data=table end to end: every task, every split, new files, and one message for each kind of bad input."""

import datetime

import numpy as np
import polars as pl
import pytest
import torch

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.serving.batch import ListBatch, PointBatch
from lit_mlfund.datamodules import TableDataModule

SIZE = 200


def frame(size: int = SIZE) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=size)
    return pl.DataFrame(
        {
            "x": x,
            "z": [None if n % 10 == 0 else float(n % 7) for n in range(size)],
            "colour": [["red", "green", "blue"][n % 3] for n in range(size)],
            "day": [datetime.date(2013, 1, 1) + datetime.timedelta(days=n // 4) for n in range(size)],
            "user": [f"u{n % 20}" for n in range(size)],
            "importance": rng.random(size) + 0.1,
            "late": (x > 0).astype(int),
            "kind": [f"k{n % 4}" for n in range(size)],
            "minutes": 10 * x + 100,
            "grade": [n % 3 for n in range(size)],
        }
    )


OTHERS = {"late", "kind", "minutes", "grade"}


@pytest.fixture
def path(tmp_path):
    frame().write_parquet(tmp_path / "x.parquet")
    return str(tmp_path / "x.parquet")


def module(path: str, task: str, target: str, **kwargs) -> TableDataModule:
    exclude = [*(OTHERS - {target}), *kwargs.pop("exclude", [])]
    data = TableDataModule(
        batch_size=16, seed=0, task=task, path=path, target=target, exclude=exclude, **kwargs
    )
    data.setup()
    return data


@pytest.mark.parametrize(
    ("task", "target", "dtype"),
    [
        ("binary", "late", torch.float32),
        ("multiclass", "kind", torch.int64),
        ("regression", "minutes", torch.float32),
    ],
)
def test_pointwise_tasks(path, task, target, dtype):
    data = module(path, task, target, weight="importance")
    rows = data.summary["rows"]
    assert rows["train"] == 140 and 28 <= rows["val"] <= 32 and sum(rows.values()) == SIZE
    assert sum(len(batch) for batch in data.train_dataloader()) == 140
    seen = torch.cat([batch.index for split in ("train", "val", "test") for batch in data.loader(split)])
    assert sorted(seen.tolist()) == list(range(SIZE))
    raw = frame()
    for split in ("train", "val", "test"):
        batch = data.whole(split)
        rows = raw[batch.index.numpy()]
        assert isinstance(batch, PointBatch) and batch.y.dtype == dtype
        np.testing.assert_allclose(batch.weight, rows["importance"], rtol=1e-6)
        if task == "multiclass":
            assert [data.spec.classes[code] for code in batch.y] == rows["kind"].to_list()
        else:
            np.testing.assert_allclose(batch.y, rows[target], rtol=1e-6)
    assert data.spec.inputs["numeric"].names == (
        "x", "z", "day (days)", "day (weekday sin)", "day (weekday cos)", "z (missing)",
    )  # fmt: skip
    assert data.spec.inputs["categorical"].names == ("colour", "user")
    assert data.spec.num_train == 140
    torch.testing.assert_close(
        data.whole("train").x["numeric"][:, 0].mean(), torch.tensor(0.0), atol=1e-5, rtol=0
    )
    if task == "regression":
        y = data.whole("train").y
        assert data.spec.target_mean == pytest.approx(float(y.mean()), rel=1e-5)


def test_ranking_by_a_query_column(path):
    data = module(path, "ranking", "grade", query="user", weight="importance")
    assert data.summary["queries"] == {"train": 14, "val": 3, "test": 3}
    raw = frame()
    for split in ("train", "val", "test"):
        batch = data.whole(split)
        assert isinstance(batch, ListBatch) and batch.mask.all() and batch.mask.shape[1] == 10
        for rows, relevance, weight in zip(batch.index.numpy(), batch.relevance, batch.weight):
            assert raw[rows]["user"].n_unique() == 1
            assert raw[rows]["grade"].to_list() == relevance.tolist()
            assert weight.item() == pytest.approx(raw[rows]["importance"].mean(), rel=1e-5)
    assert "user" not in data.spec.inputs["categorical"].names
    wide = module(path, "ranking", "grade", query="user", weight="importance", per_query="append")
    names = wide.spec.inputs["numeric"].names
    assert len(names) == 2 * len(data.spec.inputs["numeric"].names) and names[-1].endswith("(within query)")
    plain, both = data.whole("val").x["numeric"], wide.whole("val").x["numeric"]
    relative = both[..., len(names) // 2 :]
    torch.testing.assert_close(
        both[..., : len(names) // 2], plain, rtol=0, atol=0
    )  # `none` leaves them as they are
    torch.testing.assert_close(relative.mean(1), torch.zeros_like(relative[:, 0]), atol=1e-5, rtol=0)
    assert plain.mean(1).abs().max() > 0.1
    replaced = module(path, "ranking", "grade", query="user", weight="importance", per_query="replace")
    torch.testing.assert_close(replaced.whole("val").x["numeric"], relative, rtol=0, atol=0)
    assert replaced.spec.inputs["numeric"].names == data.spec.inputs["numeric"].names


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "val, test: drawn from {path} at random (split_seed 0)"),
        ({"split_seed": 3}, "val, test: drawn from {path} at random (split_seed 3)"),
        ({"time": "day"}, "val, test: the latest rows of {path} by 'day'"),
        ({"group": "user"}, "val, test: drawn from {path} (split_seed 0), 'user' kept together"),
        ({"group": "user", "time": "day"}, "val, test: the latest rows of {path} by 'day'"),
        ({"test_path": "{path}"}, "val: drawn from {path} at random (split_seed 0)"),
        ({"test_path": "{path}", "val_path": "{path}"}, None),
    ],
)
def test_how_the_rows_were_split_is_said(path, options, words):
    data = module(
        path,
        "binary",
        "late",
        **{key: path if value == "{path}" else value for key, value in options.items()},
    )
    assert [note for note in data.summary["notes"] if ":" in note.split(" ")[0] + note.split(" ")[1]][:1] == (
        [words.format(path=path)] if words else []
    )


def test_splits_do_not_leak(path):
    raw = frame()
    by_time = module(path, "binary", "late", time="day")
    days = {split: raw["day"][by_time.whole(split).index.numpy()] for split in ("train", "val", "test")}
    assert days["train"].max() < days["val"].min() and days["val"].max() < days["test"].min()
    assert not any("days" in name for name in by_time.spec.inputs["numeric"].names)
    by_group = module(path, "binary", "late", group="user")
    users = {
        split: set(raw["user"][by_group.whole(split).index.numpy()]) for split in ("train", "val", "test")
    }
    assert not users["train"] & users["val"] and not users["train"] & users["test"]
    assert by_group.summary["columns"]["dropped"]["user"]
    later = module(path, "ranking", "grade", query="user", time="day")
    assert sum(later.summary["queries"].values()) == 20


def test_a_column_says_the_split(path, tmp_path):
    words = ["train", "val", "test", "train"]
    raw = frame().with_columns(part=pl.Series([words[n % 20 % 4] for n in range(SIZE)]))
    raw.write_parquet(tmp_path / "parts.parquet")
    parts = str(tmp_path / "parts.parquet")
    for task, target, query in (("binary", "late", None), ("ranking", "grade", "user")):
        data = module(parts, task, target, query=query, split="part")
        assert data.summary["rows"] == {"train": 100, "val": 50, "test": 50}
        for split in words:
            batch = data.whole(split)
            assert set(raw[batch.index.flatten().numpy()]["part"]) == {split}
        assert "part" not in data.spec.inputs["categorical"].names
        assert data.summary["notes"] == [f"train, val, test: as the column 'part' of {parts} says"]
    data = module(parts, "binary", "late", split="part")
    _, rows = data.new_loader(path, need_target=False)  # a file to be predicted has no such column
    assert rows.height == SIZE
    for other in ({"time": "day"}, {"group": "user", "val_path": path}):
        told = ", ".join(f"data.{name}" for name in other)
        with pytest.raises(ValueError, match=f"^data.split says .*; {told} cannot be given too$"):
            module(parts, "binary", "late", split="part", **other)
    with pytest.raises(DataError, match="no column 'parts'; did you mean 'part'"):
        module(parts, "binary", "late", split="parts")
    with pytest.raises(DataError, match="'part': user 'u1' lies in more than one split"):
        raw.with_columns(part=pl.col("part").shift(1, fill_value="val").shuffle(0)).write_parquet(parts)
        module(parts, "ranking", "grade", query="user", split="part")


def test_the_seed_of_training_leaves_the_test_rows_alone(path):
    first, second = (
        TableDataModule(batch_size=16, seed=seed, task="binary", path=path, target="late", split_seed=split)
        for seed, split in ((0, 0), (1, 0))
    )
    first.setup(), second.setup()
    assert torch.equal(first.whole("test").index, second.whole("test").index)
    assert [b.index.tolist() for b in first.train_dataloader()] != [
        b.index.tolist() for b in second.train_dataloader()
    ]
    third = module(path, "binary", "late", split_seed=1)
    assert not torch.equal(first.whole("test").index, third.whole("test").index)


def test_files_of_their_own(path, tmp_path):
    frame(50).write_csv(tmp_path / "val.csv")
    data = module(path, "multiclass", "kind", val_path=str(tmp_path / "val.csv"), test_fraction=0.1)
    assert data.summary["rows"] == {"train": 180, "test": 20, "val": 50}
    both = module(
        path, "binary", "late", val_path=str(tmp_path / "val.csv"), test_path=str(tmp_path / "val.csv")
    )
    assert both.summary["rows"] == {"train": 200, "val": 50, "test": 50}


def test_a_new_file_from_a_checkpoint_alone(path, tmp_path):
    data = module(path, "multiclass", "kind", exclude=["user"])
    torch.save(data.state_dict(), tmp_path / "state.pt")
    new = frame(20).with_columns(
        colour=pl.Series(["red"] * 17 + ["mauve"] * 3), z=pl.Series([None] * 5 + [1.0] * 15)
    )
    new.drop("kind").write_csv(tmp_path / "new.csv")

    served = TableDataModule(batch_size=16, seed=0, task="multiclass", path="gone.csv", target="kind")
    served.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert served.spec == data.spec
    loader, rows = served.new_loader(str(tmp_path / "new.csv"), need_target=False)
    (batch,) = loader
    assert rows.columns == new.drop("kind").columns and rows.height == 20
    assert batch.index.tolist() == list(range(20)) and batch.y.tolist() == [0] * 20
    assert served.notes["unknown_categories"] == served.notes["unknown_categories.colour"] == 3
    assert served.notes["imputed_cells"] == served.notes["imputed_cells.z"] == 5
    with pytest.raises(DataError, match=r"new.csv: no column 'kind'"):
        served.new_loader(str(tmp_path / "new.csv"), need_target=True)

    new.write_parquet(tmp_path / "new.parquet")
    loader, _ = served.new_loader(str(tmp_path / "new.parquet"), need_target=True)
    (batch,) = loader
    assert [served.spec.classes[code] for code in batch.y] == new["kind"].to_list()
    known = data.stores["train"]
    place = {int(row): n for n, row in enumerate(known.index)}
    for row in range(5, 17):  # the same rows, encoded the same
        if row in place:
            assert torch.equal(batch.x["numeric"][row, 0], known.x["numeric"][place[row], 0])


def test_lists_of_a_new_file(path, tmp_path):
    data = module(path, "ranking", "grade", query="user")
    frame(60).drop("grade").write_parquet(tmp_path / "new.parquet")
    loader, rows = data.new_loader(str(tmp_path / "new.parquet"), need_target=False)
    batches = list(loader)
    seen = torch.cat([batch.index[batch.mask] for batch in batches])
    assert sorted(seen.tolist()) == list(range(60)) and rows.height == 60


def test_restored_preprocessing_is_used_when_the_data_changed(path, tmp_path):
    data = module(path, "binary", "late")
    state = data.state_dict()
    frame().with_columns(pl.col("x") * 1000).write_parquet(path)
    again = module(path, "binary", "late")
    assert again.whole("train").x["numeric"][:, 0].abs().max() < 10
    again.load_state_dict(state)
    assert again.whole("train").x["numeric"][:, 0].abs().max() == 10
    assert again.state_dict() == state


BAD = {
    "missing target": (lambda f: f, {"target": "lte"}, r"no column 'lte'; did you mean 'late'\?"),
    "missing roles": (
        lambda f: f,
        {"group": "usr", "weight": "nope"},
        "no column 'nope'.*no column 'usr'; did you",
    ),
    "target nan": (
        lambda f: f.with_columns(
            late=pl.when(pl.int_range(pl.len()).is_in([3, 7])).then(None).otherwise("late")
        ),
        {},
        "column 'late': the target is missing: rows 4, 8",
    ),
    "one class": (lambda f: f.with_columns(late=1), {}, "column 'late': the target is '1' in all rows"),
    "outside 0 and 1": (
        lambda f: f.with_columns(late=pl.when(pl.int_range(pl.len()) == 9).then(5).otherwise("late")),
        {},
        "column 'late': task=binary needs 0 and 1, found 5: row 10",
    ),
    "text in numbers": (
        lambda f: f.with_columns(
            x=pl.when(pl.int_range(pl.len()) == 9).then(pl.lit("?!")).otherwise(pl.col("x").cast(str))
        ),
        {},
        r"'x': text where a number belongs \('\?!'\): row 10; if these are codes, say data.categorical=\[x\]",
    ),
    "infinite": (
        lambda f: f.with_columns(x=pl.when(pl.int_range(pl.len()) < 7).then(float("inf")).otherwise("x")),
        {},
        r"column 'x': infinite values: rows 1, 2, 3, 4, 5, … \(7 in all\)",
    ),
    "weights": (
        lambda f: f.with_columns(importance=-1.0),
        {"weight": "importance"},
        "a weight must be a number of 0",
    ),
    "no weight": (lambda f: f.with_columns(importance=0.0), {"weight": "importance"}, "all weights are 0"),
    "time": (
        lambda f: f.with_columns(day=pl.when(pl.int_range(pl.len()) == 4).then(None).otherwise("day")),
        {"time": "day"},
        "column 'day': the split follows this column, and it is missing: row 5",
    ),
    "empty query": (
        lambda f: f.with_columns(user=pl.when(pl.int_range(pl.len()) == 4).then(None).otherwise("user")),
        {"task": "ranking", "target": "grade", "query": "user"},
        "column 'user': the query is missing: row 5",
    ),
    "no documents": (
        lambda f: pl.concat([f, pl.DataFrame({"user": ["lonely"]})], how="diagonal"),
        {"task": "ranking", "target": "grade", "query": "user"},
        "column 'user': query 'lonely' has no documents: nothing else stands in the row: row 201",
    ),
    "negative grade": (
        lambda f: f.with_columns(grade=pl.col("grade") - 1),
        {"task": "ranking", "target": "grade", "query": "user"},
        "column 'grade': relevance must be in 0 … 30, found -1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(tmp_path, name):
    spoil, kwargs, message = BAD[name]
    path = str(tmp_path / "bad.parquet")
    spoil(frame()).write_parquet(path)
    with pytest.raises(DataError, match=message) as error:
        module(path, **{"task": "binary", "target": "late", **kwargs})
    assert str(error.value).startswith(path) and "\n" not in str(error.value)


def test_a_class_that_is_only_in_validation(path, tmp_path):
    val = str(tmp_path / "val.parquet")
    frame(30).with_columns(
        kind=pl.when(pl.int_range(pl.len()) > 27).then(pl.lit("new")).otherwise("kind")
    ).write_parquet(val)
    with pytest.raises(
        DataError, match=r"val.parquet: column 'kind': class 'new' does not occur in train: rows 29, 30"
    ):
        module(path, "multiclass", "kind", val_path=val)
    frame().with_columns(
        kind=pl.when(pl.int_range(pl.len()) > 190).then(pl.lit("new")).otherwise("kind")
    ).write_parquet(path)
    with pytest.raises(
        DataError, match=r"x.parquet \(test\): column 'kind': class 'new' does not occur in train: rows 192"
    ):
        module(path, "multiclass", "kind", time="day")


def test_wrong_configuration(path):
    def build(**kwargs):
        arguments = {"batch_size": 4, "seed": 0, "task": "binary", "path": path, "target": "late"} | kwargs
        data = TableDataModule(**arguments)
        data.setup()

    for kwargs, message in (
        ({"task": "retrieval"}, "got task=retrieval"),
        ({"task": "ranking"}, "task=ranking needs data.query"),
        ({"query": "user"}, "data.query is for task=ranking; for task=binary, data.group"),
        ({"task": "ranking", "query": "user", "group": "user"}, "data.group cannot be given too"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, "fractions must be positive"),
        ({"per_query": "yes"}, "per_query must be none, replace or append, got 'yes'"),
        ({"path": "nowhere.csv"}, "nowhere.csv: no such file"),
    ):
        with pytest.raises(ValueError, match=message):
            build(**kwargs)
    data = module(path, "binary", "late")
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'dev'"):
        data.loader("dev")
