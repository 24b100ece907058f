"""The user's own files: trained, evaluated, predicted, with answers that are known."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tests.system.conftest import Command

QUICK = ("references=false", "logger=none", "optim.lr=1e-2", "trainer.max_epochs=12")


@pytest.mark.parametrize(
    ("task", "target", "metric", "bound"),
    [
        ("binary", "label", "auroc", 0.97),
        ("multiclass", "kind", "accuracy", 0.85),
        ("regression", "value", "r2", 0.9),
    ],
)
def test_a_table(mlfund: Command, table: Path, task: str, target: str, metric: str, bound: float) -> None:
    others = sorted({"label", "kind", "value"} - {target})
    trained = mlfund(
        "train", f"task={task}", "data=table", f"data.path={table}", f"data.target={target}",
        f"data.exclude=[{','.join(others)}]", *QUICK,
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert trained.json["test"][metric]["value"] > bound
    run = trained.json["run"]

    measured = mlfund("evaluate", f"run={run}", "split=test")
    assert measured.code == 0, measured.err
    assert measured.json["metrics"][metric] == pytest.approx(trained.json["test"][metric])

    new = pl.read_parquet(table).head(50).with_columns(color=pl.lit("violet")).drop(target)
    new.write_csv("new.csv")
    predicted = mlfund("predict", f"run={run}", "data.path=new.csv", "output=out.parquet")
    assert predicted.code == 0, predicted.err
    assert predicted.json["notes"]["unknown_categories"] == 50
    assert predicted.json["notes"]["imputed_cells"] > 0
    said = pl.read_parquet("out.parquet")
    assert said.height == 50 and "prediction" in said.columns
    assert said["noise"].to_list() == pytest.approx(new["noise"].to_list())

    without = mlfund("evaluate", f"run={run}", "data.path=new.csv")
    assert without.code == 2 and target in without.err and "new.csv" in without.err


def test_a_split_by_time_tests_on_the_latest_rows(mlfund: Command, table: Path) -> None:
    outcome = mlfund(
        "train", "task=regression", "data=table", f"data.path={table}", "data.target=value", "data.time=day",
        "data.exclude=[label,kind]", *QUICK, "trainer.max_epochs=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = pl.read_parquet(Path(outcome.json["run"]) / "predictions" / "test.parquet")["row"]
    assert rows.min() > 700


def test_letor_lists(mlfund: Command, letor: Path) -> None:
    outcome = mlfund("train", "task=ranking", "data=letor", f"data.path={letor}", *QUICK)
    assert outcome.code == 0, outcome.err
    assert outcome.json["test"]["ndcg@10"]["value"] > 0.9
    predicted = mlfund("predict", f"run={outcome.json['run']}", f"data.path={letor}", "output=out.csv")
    assert predicted.code == 0, predicted.err
    said = pl.read_csv("out.csv")
    assert said.height == len(letor.read_text().splitlines()) and {"score", "rank"} <= set(said.columns)


def test_interactions(mlfund: Command, interactions: Path) -> None:
    outcome = mlfund(
        "train", "task=retrieval", "data=interactions", f"data.path={interactions}", "data.user=user",
        "data.item=item", "data.time=time", "data.exclude_seen=false", *QUICK,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.json["test"]["recall@10"]["value"] > 0.8  # ten of twenty items are to the user's taste


def test_text(mlfund: Command) -> None:
    words = ["good fine lovely", "bad poor awful"]
    rows = [{"text": f"{words[i % 2].split()[i % 3]} film number {i}", "label": i % 2} for i in range(400)]
    pl.DataFrame(rows).write_parquet("reviews.parquet")
    outcome = mlfund(
        "train",
        "task=binary",
        "data=text",
        "data.path=reviews.parquet",
        "data.text=text",
        "data.target=label",
        *QUICK,
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["test"]["auroc"]["value"] > 0.99


def test_a_finished_run_is_repeated_with_the_same_numbers(mlfund: Command, table: Path) -> None:
    first = mlfund(
        "train", "task=binary", "data=table", f"data.path={table}", "data.target=label", "data.exclude=[kind,value]",
        *QUICK, "trainer.max_epochs=2", "seed=0",
    )  # fmt: skip
    again = mlfund("train", f"run={first.json['run']}")
    assert again.code == 0, again.err
    assert again.json["run"] != first.json["run"]
    assert again.json["test"] == first.json["test"]
    other = json.loads((Path(first.json["run"]) / "result.json").read_text())
    assert other == first.json  # the first one is left as it was


def test_a_folder_of_images_tells_what_it_leaves_out(mlfund: Command) -> None:
    for label, shade in (("cat", 40), ("dog", 200)):
        for number in range(20):
            for file in (Path(f"x/{label}/{number}.jpg"), Path(f"x/{label}/.ipynb_checkpoints/{number}.jpg")):
                file.parent.mkdir(parents=True, exist_ok=True)
                exif = Image.Exif()
                exif[0x0112] = 6 if number % 2 else 1  # held upright: height and width change places
                Image.new("L", (8, 6) if number % 2 else (6, 8), shade + number).save(file, exif=exif)
        Path(f"x/{label}/more.gif").write_bytes(b"GIF")
    trained = mlfund("train", "task=binary", "data=images", "data.path=x", *QUICK, "trainer.max_epochs=1")
    assert trained.code == 0, trained.err
    data = json.loads((Path(trained.json["run"]) / "provenance.json").read_text())["data"]
    assert sum(data["rows"].values()) == 40 and data["shape"][1:] == [8, 6]
    assert any("2 .gif" in note and "2 hidden folders" in note for note in data["notes"])
    for command in (("evaluate",), ("predict", "output=out.csv")):
        told = mlfund(*command, f"run={trained.json['run']}", "data.path=x")
        assert told.code == 0, told.err
        assert told.json["rows"] == 40 and told.json["notes"]["left_out"] == 4


@pytest.mark.parametrize("split", ["data.time=day", "data.group=noise", "data.time=day data.group=team"])
@pytest.mark.parametrize("cache", ["null", "caches"])
def test_predictions_are_those_of_their_rows(mlfund: Command, table: Path, split: str, cache: str) -> None:
    frame = pl.read_parquet(table).drop("label", "kind").sample(fraction=1, shuffle=True, seed=1)
    frame = frame.with_columns(team=pl.col("noise").rank("ordinal") // 9)
    frame.write_csv("mixed.csv")
    trained = mlfund(
        "train", "task=regression", "data=table", "data.path=mixed.csv", "data.target=value", *split.split(),
        f"data.cache={cache}", *QUICK, "trainer.max_epochs=2",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    run = trained.json["run"]
    predicted = mlfund("predict", f"run={run}", "data.path=mixed.csv", "output=all.parquet")
    assert predicted.code == 0, predicted.err
    whole = pl.read_parquet("all.parquet")["prediction"]
    seen = pl.read_parquet(Path(run) / "predictions" / "test.parquet")
    rows = seen["row"].to_numpy()
    assert len(rows) >= 100 and not (rows == range(rows.min(), rows.min() + len(rows))).all()
    assert seen["prediction"].to_numpy() == pytest.approx(whole.to_numpy()[rows], rel=1e-5, abs=1e-6)
    assert seen["target"].to_numpy() == pytest.approx(frame["value"].to_numpy()[rows], rel=1e-5)


@pytest.mark.parametrize("cache", ["null", "caches"])
def test_three_rows_of_a_class_are_in_three_splits(mlfund: Command, table: Path, cache: str) -> None:
    frame = (
        pl.read_parquet(table)
        .with_row_index("place")
        .with_columns(seldom=pl.col("place").is_in([5, 405, 777]))
    )
    frame.drop("place", "label", "kind").write_parquet("seldom.parquet")
    trained = mlfund(
        "train", "task=binary", "data=table", "data.path=seldom.parquet", "data.target=seldom",
        f"data.cache={cache}", *QUICK, "trainer.max_epochs=1",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert trained.json["test"]["auroc"]["value"] is not None
    target = json.loads((Path(trained.json["run"]) / "provenance.json").read_text())["data"]["target"]
    assert target["classes"]["true"] == 1
    assert pl.read_parquet(Path(trained.json["run"]) / "predictions" / "test.parquet")["target"].sum() == 1


@pytest.mark.parametrize("cache", ["null", "caches"])
def test_a_category_of_new_values_only_is_left_out(mlfund: Command, table: Path, cache: str) -> None:
    frame = pl.read_parquet(table).sort("day").with_row_index("place")
    weeks = frame.with_columns(week="w" + (pl.col("place") // 10).cast(pl.String))
    weeks.drop("place", "label", "kind").write_csv("weeks.csv")
    trained = mlfund(
        "train", "task=regression", "data=table", "data.path=weeks.csv", "data.target=value", "data.time=day",
        f"data.cache={cache}", *QUICK, "trainer.max_epochs=1",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert "week (none of its values in training occurs in val or test)" in " ".join(trained.err.split())
    run = trained.json["run"]
    assert "none of its values" in (Path(run) / "report.html").read_text()
    record = json.loads((Path(run) / "provenance.json").read_text())["data"]["columns"]
    assert "week" in record["dropped"] and "week" not in record["categorical"]

    weeks.drop("place", "label", "kind", "week").write_csv("new.csv")
    for path in ("weeks.csv", "new.csv"):
        measured = mlfund("evaluate", f"run={run}", f"data.path={path}")
        assert measured.code == 0, measured.err
        assert measured.json["notes"]["unknown_categories"] == 0
        predicted = mlfund("predict", f"run={run}", f"data.path={path}", f"output={path}.parquet")
        assert predicted.code == 0, predicted.err
    one, other = (pl.read_parquet(f"{path}.parquet")["prediction"] for path in ("weeks.csv", "new.csv"))
    assert one.to_list() == other.to_list()
