"""What the roles of columns decide, by the value that comes out, in memory and on the disk alike."""

import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lit_mlfund.data.reading import scan
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules import TableDataModule

SIZE = 100


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    monkeypatch.setattr(scan, "MAX_ROWS", 16)
    return None if request.param == "memory" else str(tmp_path / "caches")


def columns(**others: object) -> pl.DataFrame:
    x = np.random.default_rng(0).normal(size=SIZE)
    return pl.DataFrame({"x": x, "y": 2 * x + 1, **others}, strict=False)


def module(frame: pl.DataFrame, folder: Path, cache: str | None, **kwargs: object) -> TableDataModule:
    frame.write_parquet(folder / "t.parquet")
    arguments = {"target": "y", "task": "regression", "batch_size": 8, "split_seed": 3, **kwargs}
    data = TableDataModule(str(folder / "t.parquet"), cache=cache, **arguments)
    data.setup()
    return data


SHUFFLED = np.random.default_rng(1).permutation(SIZE)
START = datetime.datetime(2020, 1, 1)
DAYS = [START.date() + datetime.timedelta(days=int(n)) for n in SHUFFLED]
WEEKDAY = ("x", "t (weekday sin)", "t (weekday cos)")
MOMENTS = {
    "whole": (SHUFFLED, ("x",)),
    "broken": (SHUFFLED / 7, ("x",)),
    "small": (SHUFFLED.astype(np.uint8), ("x",)),
    # 100 days hold whole weeks, but no whole year; their trend would lie outside of training
    "days": (DAYS, WEEKDAY),
    "moments": ([START + datetime.timedelta(minutes=int(n)) for n in SHUFFLED], ("x",)),
    "text": ([str(day) for day in DAYS], WEEKDAY),
}  # fmt: skip


@pytest.mark.parametrize("kind", MOMENTS)
def test_the_time_of_the_split_is_no_feature(tmp_path: Path, cache: str | None, kind: str) -> None:
    values, features = MOMENTS[kind]
    data = module(columns(t=values), tmp_path, cache, time="t")
    assert data.spec.inputs["numeric"].names == features and "categorical" not in data.spec.inputs
    assert data.whole("train").x["numeric"].shape == (70, len(features))
    order = np.argsort(SHUFFLED)
    for split, rows in zip(("train", "val", "test"), (order[:70], order[70:85], order[85:])):
        assert data.whole(split).index.tolist() == sorted(rows.tolist())


@pytest.mark.parametrize("kind", ["whole", "days"])
def test_a_group_is_where_its_latest_row_is(tmp_path: Path, cache: str | None, kind: str) -> None:
    values, _ = MOMENTS[kind]
    group = SHUFFLED // 5  # of five neighbours in time each
    group[np.argsort(SHUFFLED)[0]] = 19  # the earliest row is of the last group
    group[np.argsort(SHUFFLED)[99]] = 0  # the latest row is of the first group
    data = module(columns(t=values, g=group), tmp_path, cache, time="t", group="g")
    groups = {split: set(group[data.whole(split).index]) for split in ("train", "val", "test")}
    # group 0 goes behind the last one; the others are in the order of their latest rows
    assert groups == {"train": {*range(1, 15)}, "val": {15, 16, 17}, "test": {0, 18, 19}}
    assert data.spec.inputs["numeric"].names[0] == "x" and "g" not in str(data.spec.inputs)


@pytest.mark.parametrize("value", [float("nan"), None, -0.5, float("inf"), float("-inf")])
def test_a_weight_that_is_none_is_refused_with_its_row(
    tmp_path: Path, cache: str | None, value: float | None
) -> None:
    weight = [1.0] * SIZE
    weight[41] = value
    problem = (
        "infinite values"
        if value in (float("inf"), float("-inf"))
        else "a weight must be a number of 0 or more"
    )
    with pytest.raises(DataError, match=f"column 'w': {problem}: row 42$"):
        module(columns(w=weight), tmp_path, cache, weight="w")
    zero = [1.0] * SIZE
    zero[41] = 0.0
    data = module(columns(w=zero), tmp_path, cache, weight="w")
    kept = {
        int(row): float(weight)
        for split in ("train", "val", "test")
        for row, weight in zip(data.whole(split).index, data.whole(split).weight)
    }
    assert kept == dict(enumerate(zero))
    new = str(tmp_path / "new.parquet")
    columns(w=weight).write_parquet(new)
    with pytest.raises(DataError, match=f"column 'w': {problem}: row 42$"):
        data.new_loader(new, need_target=True)
    assert len(data.new_loader(new, need_target=False)[1]) == SIZE  # no weight is needed to predict


def test_whole_numbers_with_a_point_are_the_same_labels(tmp_path: Path, cache: str | None) -> None:
    whole = [n % 3 for n in range(SIZE)]
    frame = columns(label=whole, code=[n % 4 for n in range(SIZE)], g=[n // 5 for n in range(SIZE)])
    pointed = frame.with_columns(pl.col("label", "code", "g").cast(pl.Float64))
    worded = frame.with_columns(pl.col("label", "code", "g").cast(pl.String))
    roles = {"target": "label", "task": "multiclass", "categorical": ["code"], "group": "g"}
    one = module(frame, tmp_path, cache, **roles)
    assert one.spec.classes == ("0", "1", "2")
    for other in (pointed, worded):
        same = module(other, tmp_path, cache, **roles)
        assert same.spec.classes == one.spec.classes
        for split in ("train", "val", "test"):
            assert torch.equal(same.whole(split).y, one.whole(split).y)
            assert torch.equal(same.whole(split).x["categorical"], one.whole(split).x["categorical"])
            assert torch.equal(same.whole(split).index, one.whole(split).index)
        other.write_parquet(tmp_path / "new.parquet")
        (batch,) = one.new_loader(str(tmp_path / "new.parquet"), need_target=True)[0]
        assert batch.y.tolist() == whole and one.notes["unknown_categories"] == 0
    frame.with_columns(pl.lit(2.5).alias("label")).write_parquet(tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"class '2\.5' does not occur in train"):
        one.new_loader(str(tmp_path / "new.parquet"), need_target=True)


def test_a_missing_number_is_no_label_of_its_own(tmp_path: Path, cache: str | None) -> None:
    labels = [float(n % 2 * 2 - 1) for n in range(SIZE)]  # -1 and 1
    code = [float("nan") if n % 5 == 0 else n % 2 - 1.0 for n in range(SIZE)]  # -1 and 0, and missing
    data = module(
        columns(label=labels, code=code), tmp_path, cache, target="label", task="multiclass", categorical=["code"],
        exclude=["y"],
    )  # fmt: skip
    assert data.spec.classes == ("-1", "1")
    assert data.spec.inputs["categorical"].cardinalities == (3,)  # missing, and two labels
    whole = data.whole("train")
    missing = np.array([np.isnan(code[row]) for row in whole.index])
    assert ((whole.x["categorical"][:, 0] == 0).numpy() == missing).all()
    assert data.summary["unknown_categories"] == {}
    labels[7] = float("nan")
    roles = {"target": "label", "task": "multiclass", "exclude": ["y"]}
    with pytest.raises(DataError, match="column 'label': the target is missing: row 8"):
        module(columns(label=labels), tmp_path, cache, **roles)
    for role in ("group", "time"):
        with pytest.raises(
            DataError, match="column 'code': the split follows this column, and it is missing: row"
        ):
            module(columns(code=code), tmp_path, cache, **{role: "code"})
