"""Files larger than memory through the command line: what comes out is what a file in memory gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from lit_mlfund.data import scan
from lit_mlfund.datamodules import table as module
from lit_mlfund.runtime import execute, measure
from tests.system.conftest import Command

QUICK = ("references=false", "logger=none", "trainer.max_epochs=2", "data.exclude=[kind,value,day]")


def test_new_files_in_pieces_and_a_source_that_changes(
    mlfund: Command, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = execute._fit

    def fit_while_somebody_writes(*arguments: object) -> None:
        fit(*arguments)
        pl.read_parquet(table).head(800).write_parquet(table)

    monkeypatch.setattr(execute, "_fit", fit_while_somebody_writes)
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
        monkeypatch.setattr(module, "LARGE", large)
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
    monkeypatch.setattr(measure, "SAMPLE_ROWS", 100)
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
    monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(scan, "MAX_ROWS", 64)
    told = mlfund("predict", f"run={said.json['run']}", "data.path=lists.parquet", "output=pieces.parquet")
    assert told.code == 0 and told.json["rows"] == len(query), told.err
    assert_frame_equal(pl.read_parquet("whole.parquet"), pl.read_parquet("pieces.parquet"))
