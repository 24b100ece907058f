"""Tables with hardly any rows, values or variety, and too many columns: trained and said, or one message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.system.conftest import Command

SHORT = ("trainer.max_epochs=1", "model.hidden=[4]", "model.num_members=2", "logger=none", "doctor=none")
NUMBERS = np.random.default_rng(0).normal(size=(300, 2))
PARTS = ["train"] * 200 + ["val"] * 50 + ["test"] * 50


def asked(task: str, target: str, *extra: str) -> tuple[str, ...]:
    return (
        "train", f"task={task}", "data=table", "data.path=t.parquet", f"data.target={target}", *SHORT, *extra,
    )  # fmt: skip


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("extra", [(), ("blend=boosting",)])
def test_twenty_rows(mlfund: Command, task: str, extra: tuple[str, ...]) -> None:
    target = {"binary": [0, 1] * 10, "multiclass": ["a", "b", "c", "d"] * 5, "regression": NUMBERS[:20, 1]}
    pl.DataFrame({"x": NUMBERS[:20, 0], "y": target[task]}).write_parquet("t.parquet")
    outcome = mlfund(*asked(task, "y", *extra))
    assert outcome.code == 0, outcome.err
    sizes = {
        "binary": "14  val 2  test 4",
        "multiclass": "12  val 4  test 4",
        "regression": "14  val 3  test 3",
    }
    assert f"train {sizes[task]} rows" in outcome.err
    assert {"constant", "linear", "gradient_boosting"} <= outcome.json["references"].keys()


def test_three_rows_of_a_class(mlfund: Command) -> None:
    label = ["x"] * 150 + ["z"] * 147 + ["rare"] * 3
    pl.DataFrame({"x": NUMBERS[:, 0], "y": label}).write_parquet("t.parquet")
    outcome = mlfund(*asked("multiclass", "y"))
    assert outcome.code == 0, outcome.err
    assert "3 classes: from 0.5 % ('rare')" in outcome.err.replace("\u00a0", " ")
    table = pl.read_parquet(Path(outcome.json["run"]) / "predictions" / "test.parquet")
    assert set(table["target"]) == {0, 1, 2}  # codes: the class has a row in each split


def test_numbers_that_training_does_not_have(mlfund: Command) -> None:
    missing = pl.Series([None] * 200 + NUMBERS[200:, 0].tolist(), dtype=pl.Float64)
    frame = pl.DataFrame({"gone": missing, "y": [0, 1] * 150, "part": PARTS})
    frame.write_parquet("t.parquet")
    outcome = mlfund(*asked("binary", "y", "data.split=part"))
    assert outcome.code == 2
    assert "no column can serve as a feature (part: excluded on request; gone: empty)" in outcome.err
    assert not Path("runs").exists() or not list(Path("runs").glob("*/*"))
    frame.with_columns(x=NUMBERS[:, 1]).write_parquet("t.parquet")
    outcome = mlfund(*asked("binary", "y", "data.split=part"))
    assert outcome.code == 0, outcome.err
    assert "numeric: x\n" in outcome.err and "gone (empty)" in outcome.err


def test_one_category_per_row(mlfund: Command) -> None:
    frame = pl.DataFrame({"name": [f"n{row}" for row in range(300)], "y": [0, 1] * 150})
    frame.write_parquet("t.parquet")
    outcome = mlfund(*asked("binary", "y"))
    assert outcome.code == 2 and "name: every value is different" in outcome.err
    frame.with_columns(x=NUMBERS[:, 1]).write_parquet("t.parquet")
    outcome = mlfund(*asked("binary", "y"))
    assert outcome.code == 0 and "name (every value is different" in outcome.err, outcome.err


def test_more_bins_than_values(mlfund: Command) -> None:
    few = pl.DataFrame({"three": [0.0, 1.0, 2.0] * 100, "two": [0, 1] * 150, "y": [0, 1, 1] * 100})
    few.write_parquet("t.parquet")
    embedding = "model.numeric_embedding=piecewise_linear"
    outcome = mlfund(*asked("binary", "y", embedding, "trainer.max_epochs=20", "optim.lr=0.02"))
    assert outcome.code == 0, outcome.err
    assert outcome.json["test"]["auroc"]["value"] == 1


def test_five_thousand_columns(mlfund: Command) -> None:
    wide = np.random.default_rng(0).normal(size=(90, 5000)).astype("float32")
    frame = pl.DataFrame({f"x{column}": wide[:, column] for column in range(5000)})
    frame.with_columns(y=pl.Series([0, 1] * 45)).write_parquet("t.parquet")
    outcome = mlfund(*asked("binary", "y", "references=false", "model.numeric_embedding=none"))
    assert outcome.code == 0, outcome.err
    assert "numeric: x0, x1, x2" in outcome.err and " …" in outcome.err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("model.num_members=0",), "num_members must be at least 1, got 0"),
        (("model.k=0",), "model.k: unknown; known: num_members"),
        (("monitor=val/rmse",), "monitor: val/rmse is not measured for task=binary; did you mean val/brier?"),
        (("monitor=val/nothing",), "monitor: val/nothing is not measured for task=binary; known: val/loss"),
    ],
)
def test_options_that_cannot_be(mlfund: Command, extra: tuple[str, ...], message: str) -> None:
    pl.DataFrame({"x": NUMBERS[:, 0], "y": [0, 1] * 150}).write_parquet("t.parquet")
    outcome = mlfund(*asked("binary", "y"), *extra)
    assert outcome.code == 2 and message in outcome.err, outcome.err
    assert "Traceback" not in outcome.err and not list(Path("runs").glob("*/*"))
