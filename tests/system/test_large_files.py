"""Files larger than memory through the command line: what comes out is what a file in memory gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from lit_mlfund.data.reading import letor, scan
from lit_mlfund.datamodules import text_lm
from lit_mlfund.references import by_split
from lit_mlfund.runs.execution import execute
from tests.system.conftest import Command

QUICK = ("references=false", "logger=none", "trainer.max_epochs=2", "data.exclude=[kind,value,day]")


def test_new_files_in_pieces_and_a_source_that_changes(
    mlfund: Command, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = execute.fit

    def fit_while_somebody_writes(*arguments: object) -> None:
        fit(*arguments)
        pl.read_parquet(table).head(800).write_parquet(table)

    monkeypatch.setattr(execute, "fit", fit_while_somebody_writes)
    monkeypatch.setattr(scan, "MAX_ROWS", 128)
    trained = mlfund(
        "train", "task=binary", "data=table", f"data.path={table}", "data.target=label", "data.cache=caches", *QUICK
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert "changed_data" in trained.json["findings"]
    run = Path(trained.json["run"])
    finding = next(f for f in json.loads((run / "findings.json").read_text()) if f["name"] == "changed_data")
    assert str(table) in finding["symptom"] and "since this run read it" in finding["symptom"]
    assert json.loads((run / "provenance.json").read_text())["sources"][0]["path"] == str(table)

    new = pl.read_parquet(table).head(700)
    new.write_csv("new.csv")
    said = {}
    for name, large in (("whole", 2**26), ("pieces", 0)):
        monkeypatch.setattr(scan, "LARGE", large)
        measured = mlfund("evaluate", f"run={run}", "data.path=new.csv").json
        tables = []
        for ending, read in (("csv", pl.read_csv), ("parquet", pl.read_parquet)):
            told = mlfund("predict", f"run={run}", "data.path=new.csv", f"output={name}.{ending}")
            assert told.code == 0 and told.json["rows"] == 700, told.err
            tables.append(read(f"{name}.{ending}"))
        said[name] = measured["metrics"], measured["notes"], told.json["notes"], tables
    assert said["pieces"][:3] == said["whole"][:3]
    for one, other in zip(said["pieces"][3], said["whole"][3]):
        assert one.schema == other.schema
        assert_frame_equal(one, other)
    assert not [entry for entry in Path().iterdir() if entry.name.startswith(".")]

    bad = new.with_columns(
        number=pl.when(pl.col("label").cum_count() == 650).then(float("inf")).otherwise("number")
    )
    bad.write_csv("bad.csv")
    told = mlfund("predict", f"run={run}", "data.path=bad.csv", "output=bad.parquet")
    assert told.code == 2 and "infinite values: row 650" in told.err
    assert not Path("bad.parquet").exists()


def test_lists_from_a_cache(mlfund: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_split, "SAMPLE_ROWS", 100)
    rng = np.random.default_rng(0)
    query = np.repeat(np.arange(150), rng.integers(3, 9, 150))
    x, noise = rng.normal(size=(2, len(query)))
    grade = np.clip(np.round(x + 0.3 * noise + 1), 0, 3).astype(int)
    pl.DataFrame({"q": query, "x": x, "noise": noise, "grade": grade}).write_parquet("lists.parquet")
    asked = ("task=ranking", "data=table", "data.path=lists.parquet", "data.target=grade", "data.query=q")
    quick = ("logger=none", "trainer.max_epochs=8", "optim.lr=1e-2", "data.per_query=append")
    said = mlfund("train", *asked, *quick, "data.cache=caches")
    assert said.code == 0, said.err
    assert said.json["test"]["ndcg@10"]["value"] > 0.9
    assert {"random", "best_feature", "gradient_boosting"} <= said.json["references"].keys()
    assert said.json["references"]["random"]["ndcg@10"]["value"] < 0.9
    told = mlfund("predict", f"run={said.json['run']}", "data.path=lists.parquet", "output=whole.parquet")
    monkeypatch.setattr(scan, "LARGE", 0)
    monkeypatch.setattr(scan, "MAX_ROWS", 64)
    told = mlfund("predict", f"run={said.json['run']}", "data.path=lists.parquet", "output=pieces.parquet")
    assert told.code == 0 and told.json["rows"] == len(query), told.err
    assert_frame_equal(pl.read_parquet("whole.parquet"), pl.read_parquet("pieces.parquet"))


def lists(path: str) -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    with open(path, "w") as file:
        for number in range(400):
            grade = rng.integers(0, 3)
            print(f"{grade} qid:{number // 7} 1:{grade + rng.normal():.3f} 2:{rng.normal():.3f}", file=file)
    return ("task=ranking", "data=letor", f"data.path={path}")


def images(path: str) -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 300)
    pixels = rng.integers(0, 128, (300, 36)) + 80 * kind[:, None]
    pl.DataFrame({f"p{n}": pixels[:, n] for n in range(36)} | {"label": kind}).write_parquet(path)
    return ("task=binary", "data=images", f"data.path={path}")


def takes(path: str) -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    user = rng.integers(0, 40, 400)
    item = (
        2 * rng.integers(0, 10, 400) + user % 2 + 20 * (np.arange(400) > 390)
    )  # the last items are new ones
    pl.DataFrame({"user": user, "item": item, "time": np.arange(400)}).write_parquet(path)
    return ("task=retrieval", "data=interactions", f"data.path={path}", "data.user=user", "data.item=item", "data.time=time")  # fmt: skip  # noqa: E501


def sums(path: str) -> tuple[str, ...]:
    numbers = np.random.default_rng(0).integers(0, 30, (600, 2)).tolist()
    Path(path).write_text("".join(f"{a}+{b}={a + b}\n" for a, b in numbers))
    return ("task=multiclass", "data=text_lm", f"data.path={path}", "data.length=16", "model.dim=16", "model.depth=1")  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("make", "file", "counts"),
    [
        (lists, "lists.txt", {"rows": 400, "queries": 58}),
        (images, "images.parquet", {"rows": 300}),
        (takes, "takes.parquet", {"rows": 400}),
        (sums, "sums.txt", {"characters": None, "windows": None}),
    ],
)
def test_every_kind_of_data_in_pieces(
    mlfund: Command,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[str], tuple[str, ...]],
    file: str,
    counts: dict[str, int | None],
) -> None:
    trained = mlfund("train", *make(file), "references=false", "logger=none", "trainer.max_epochs=1")
    assert trained.code == 0, trained.err
    run = f"run={trained.json['run']}"
    if make is sums:
        length = len(Path(file).read_text())
        counts = {"characters": length - 1, "windows": -(-(length - 17) // 8) + 1}
    said, tables = [], []
    for name in ("whole", "pieces"):
        if name == "pieces":
            monkeypatch.setattr(scan, "LARGE", 0)
            monkeypatch.setattr(scan, "MAX_ROWS", 64)
            monkeypatch.setattr(letor, "CHUNK", 1000)
            monkeypatch.setattr(text_lm, "PIECE", 320)
        measured = mlfund("evaluate", run, f"data.path={file}")
        assert measured.code == 0, measured.err
        told = mlfund("predict", run, f"data.path={file}", f"output={name}.parquet")
        assert told.code == 0, told.err
        assert {name: measured.json[name] for name in counts} == counts
        unit, number = next(iter(counts.items()))
        assert told.json[unit] == number
        assert ("rows" in measured.json) == ("rows" in told.json) == ("rows" in counts)
        said.append((measured.json["metrics"], measured.json["notes"], told.json["notes"]))
        tables.append(pl.read_parquet(f"{name}.parquet"))
    (one, *notes), (other, *other_notes) = said
    assert notes == other_notes
    assert one.keys() == other.keys()
    for metric, values in one.items():
        assert values == pytest.approx(other[metric], rel=1e-6, nan_ok=True)
    assert_frame_equal(*tables, abs_tol=1e-5)
    assert len(tables[0]) == (number if make is not takes else 10 * 400)


@pytest.mark.parametrize("poison", ["no encoder", "another layout", "no splits"])
def test_a_cached_table_that_was_not_written_here_is_built_anew(
    mlfund: Command, table: Path, tmp_path: Path, poison: str
) -> None:
    """Its checksums are right, and yet it cannot be opened."""
    words = ("train", "task=binary", "data=table", f"data.path={table}", "data.target=label", "data.cache=cache",
             "logger=none", "references=false", "trainer.max_epochs=1")  # fmt: skip
    first = mlfund(*words)
    assert first.code == 0, first.err
    (file,) = (tmp_path / "cache").glob("*/cache.json")
    manifest = json.loads(file.read_text())
    if poison == "no encoder":
        del manifest["content"]["encoder"]
    elif poison == "another layout":
        manifest["content"]["splits"]["train"]["layout"]["numeric"][1] = [1_000_003]
    else:
        manifest["content"]["splits"] = 3
    file.write_text(json.dumps(manifest))
    again = mlfund(*words)
    assert again.code == 0, again.err
    assert "Traceback" not in again.err
    assert "made now, as it could not be read" in " ".join(again.err.split())
    assert again.json["test"] == first.json["test"]
