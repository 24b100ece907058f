"""Frames of polars and pandas where a file is expected, and the task that a target makes plain."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules import InteractionsDataModule, LetorDataModule, TableDataModule, TextDataModule

pandas = pytest.importorskip("pandas")
SIZE = 240


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    generator = np.random.default_rng(0)
    number = generator.normal(size=SIZE)
    return pl.DataFrame(
        {
            "number": [None if row % 11 == 0 else value for row, value in enumerate(number)],
            "color": generator.choice(["red", "green"], SIZE),
            "day": pl.date_range(
                pl.date(2020, 1, 1), pl.date(2020, 1, 1) + pl.duration(days=SIZE - 1), eager=True
            ),
            "flag": generator.random(SIZE) < 0.5,
            "label": (number > 0).astype(int),
            "kind": generator.choice(["a", "b", "c"], SIZE),
            "price": number * 3,
            "visits": np.arange(SIZE),
            "stars": generator.integers(1, 6, SIZE),
        }
    )


def as_pandas(frame: pl.DataFrame) -> object:
    made = pandas.DataFrame(frame.to_dict(as_series=False))
    made["color"] = made["color"].astype("category")
    made["day"] = pandas.to_datetime(made["day"])
    made.index = range(1000, 1000 + len(made))
    return made


def test_a_frame_is_split_and_encoded_as_its_file(frame: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    frame.write_parquet(path)
    exclude = ["kind", "price", "visits", "stars"]
    sources = (str(path), frame, frame.lazy(), as_pandas(frame))
    made = [TableDataModule(source, target="label", exclude=exclude) for source in sources]
    for data in made:
        data.setup()
    first = made[0]
    for data in made[1:]:
        assert data.spec == first.spec
        for split, store in first.stores.items():
            other = data.stores[split]
            assert torch.equal(store.index, other.index) and torch.equal(store.y, other.y)
            assert all(torch.equal(store.x[name], other.x[name]) for name in store.x)
    assert "the frame" in " ".join(made[1].summary["notes"])


@pytest.mark.parametrize(
    ("target", "task"),
    [("label", "binary"), ("flag", "binary"), ("color", "binary"), ("kind", "multiclass"),
     ("price", "regression"), ("visits", "regression")],
)  # fmt: skip
def test_the_task_that_a_target_makes_plain(frame: pl.DataFrame, target: str, task: str) -> None:
    assert TableDataModule(frame, target=target).roles.task == task


def test_a_target_that_may_be_either(frame: pl.DataFrame) -> None:
    with pytest.raises(
        ValueError, match="'stars' holds 5 whole numbers, which may be classes or amounts; pass task="
    ):
        TableDataModule(frame, target="stars")
    assert TableDataModule(frame, target="stars", task="regression").roles.task == "regression"
    with pytest.raises(ValueError, match="at least two values"):
        TableDataModule(frame.with_columns(label=pl.lit(1)), target="label")
    with pytest.raises(DataError, match="lable"):
        TableDataModule(frame, target="lable")


def test_texts_and_interactions(frame: pl.DataFrame) -> None:
    texts = frame.select(text=pl.format("{} is {}", "color", "kind"), label="label")
    data = TextDataModule(texts, text="text", target="label")
    data.setup()
    assert data.spec.task == "binary" and len(data.stores["train"]) > 100
    generator = np.random.default_rng(0)
    taken = pl.DataFrame({"user": generator.integers(0, 20, 400), "item": generator.integers(0, 9, 400)})
    clicks = InteractionsDataModule(as_pandas_plain(taken), user="user", item="item")
    clicks.setup()
    assert clicks.spec.num_items == 9
    loader, pieces = clicks.new_loader(pl.DataFrame({"user": [1, 2]}), need_target=False)
    assert len(pieces) == 2 and sum(len(batch) for batch in loader) == 2


def as_pandas_plain(frame: pl.DataFrame) -> object:
    return pandas.DataFrame(frame.to_dict(as_series=False))


def test_what_is_no_table(frame: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the frame has no rows"):
        TableDataModule(frame.head(0), target="label")
    assert not LetorDataModule(str(tmp_path / "x.txt")).takes_frames


@pytest.mark.parametrize("source", ["polars", "pandas", "parquet", "arrow"])
def test_text_that_spells_numbers_and_dates(tmp_path, source):
    """As in text files: the columns of text in a frame, or in a file of typed columns."""
    frame = pl.DataFrame(
        {
            "amount": [f"{1000 + n:,}.5" for n in range(120)],
            "day": [f"{n % 12 + 1}/{n % 28 + 1}/2020" for n in range(120)],
            "y": [n / 7 for n in range(120)],
        }
    )
    given = {
        "polars": lambda: frame,
        "pandas": lambda: pandas.DataFrame(frame.to_dict(as_series=False)),
        "parquet": lambda: frame.write_parquet(tmp_path / "x.parquet") or str(tmp_path / "x.parquet"),
        "arrow": lambda: frame.write_ipc(tmp_path / "x.arrow") or str(tmp_path / "x.arrow"),
    }[source]()
    data = TableDataModule(given, target="y", task="regression")
    data.setup()
    assert data.summary["columns"]["numeric"] == ["amount"] and data.summary["columns"]["date"] == ["day"]
    state = data.state_dict()
    fresh = TableDataModule(given, target="y", task="regression")
    fresh.load_state_dict(state)
    new = pl.DataFrame({"amount": ["1,234"], "day": ["2/3/2020"]})
    _, read = fresh.new_loader(new, need_target=False)
    assert read.rows() == [(1234.0, datetime.date(2020, 2, 3))]
