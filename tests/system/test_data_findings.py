"""What is wrong with data, through the command line: before training, in a run, and again from its evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.system.conftest import Command

QUICK = ("logger=none", "references=false", "trainer.max_epochs=2", "data.batch_size=64")
TABLE = ("data=table", "data.path=t.csv", "data.target=y")


def write(path: Path, fault: str = "", rows: int = 900) -> None:
    generator = np.random.default_rng(0)
    x = {f"x{i}": generator.normal(size=rows) for i in range(5)}
    y = (generator.random(rows) < 1 / (1 + np.exp(-2 * x["x0"] - x["x1"]))).astype(int)
    later = np.arange(rows) >= 600
    columns: dict[str, Any] = {**x, "y": y}
    if fault == "leak":
        columns["status"] = np.where(generator.random(rows) < 0.01, 1 - y, y) + 0.01 * generator.normal(
            size=rows
        )
    elif fault == "unit":
        columns["x0"] = np.where(later, 1000 * x["x0"] + 70000, x["x0"] + 70)
        columns["part"] = np.where(~later, "train", np.where(np.arange(rows) < 750, "val", "test"))
    elif fault == "people":
        columns["patient_id"] = np.repeat(np.arange(rows // 10), 10)
        own = generator.normal(size=(rows // 10, 5))
        label = generator.integers(0, 2, rows // 10)
        columns |= {f"x{i}": np.repeat(own[:, i], 10) + 0.05 * generator.normal(size=rows) for i in range(5)}
        columns["y"] = np.repeat(label, 10)
    elif fault == "outliers":
        columns["y"] = 10 + x["x0"] + 0.5 * generator.normal(size=rows)
        columns["y"][[100, 101]] = 5000.0
    pl.DataFrame(columns).write_csv(path)


def findings(run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((Path(run) / "findings.json").read_text())
    return found


def loud(found: list[dict[str, Any]]) -> list[str]:
    return [finding["name"] for finding in found if finding["severity"] != "info"]


def test_a_leak_before_training_in_a_run_and_again(mlfund: Command, tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "leak")
    task = ("task=binary", *TABLE, "data.exclude=[x4]")
    before = mlfund("doctor", *task)
    assert before.code == 0 and loud(before.json["findings"]) == ["target_leakage"]
    assert before.json["findings"][0]["fixes"] == ["data.exclude=[x4,status]"]
    assert not (tmp_path / "runs").exists()
    outcome = mlfund("train", *task, *QUICK)
    run = outcome.json["run"]
    assert loud(findings(run)) == ["target_leakage"]
    evidence = Path(run) / "evidence.json"
    assert evidence.stat().st_size < 2**20 and json.loads(evidence.read_text())["cost"]["data"] > 0
    (tmp_path / "t.csv").unlink()  # nothing but the evidence is read
    again = mlfund("doctor", f"run={run}")
    from lit_mlfund.atomic import to_json

    assert to_json(again.json["findings"], indent=1) + "\n" == (Path(run) / "findings.json").read_text()


@pytest.mark.parametrize(
    ("fault", "task", "options", "name", "fix"),
    [
        ("unit", "binary", ("data.split=part",), "unit_change", ["data.exclude=[x0]"]),
        ("people", "binary", ("data.exclude=[patient_id]",), "group_overlap", ["data.group=patient_id"]),
        ("outliers", "regression", (), "heavy_rows", ["loss=huber"]),
        ("", "binary", (), None, None),
    ],
)
def test_planted_and_not(
    mlfund: Command,
    tmp_path: Path,
    fault: str,
    task: str,
    options: tuple[str, ...],
    name: str | None,
    fix: Any,
) -> None:
    write(tmp_path / "t.csv", fault)
    outcome = mlfund("doctor", f"task={task}", *TABLE, *options)
    assert outcome.code == 0 and "Traceback" not in outcome.err
    assert loud(outcome.json["findings"]) == ([name] if name else [])
    if name:
        assert outcome.json["findings"][0]["fixes"] == fix
    if fault == "outliers":
        assert set(outcome.json["findings"][0]["rows"]) <= {100, 101}
    if fault == "people":  # and the fix mends it
        mended = mlfund("doctor", f"task={task}", *TABLE, "data.group=patient_id")
        assert loud(mended.json["findings"]) == []


def test_heavy_rows_by_the_trained_model(mlfund: Command, tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "outliers")
    run = mlfund("train", "task=regression", *TABLE, *QUICK).json["run"]
    first = findings(run)[0]
    assert first["name"] == "heavy_rows" and set(first["rows"]) <= {100, 101} and first["rows"]
    assert first["fixes"] == ["loss=huber"]


def test_texts_that_occur_again(mlfund: Command, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    words = [f"w{i}" for i in range(200)]
    texts = [" ".join(generator.choice(words, 10)) for _ in range(400)]
    labels = generator.integers(0, 2, 400)
    rows = generator.permutation(np.r_[np.arange(400), np.arange(200)])
    pl.DataFrame({"t": [texts[row] for row in rows], "y": labels[rows]}).write_csv(tmp_path / "t.csv")
    text = ("task=binary", "data=text", "data.path=t.csv", "data.text=t", "data.target=y")
    outcome = mlfund("doctor", *text)
    assert loud(outcome.json["findings"]) == ["duplicates_across_splits"]
    assert outcome.json["missing"] == {"columns": "tokens have no columns"}
    found = outcome.json["findings"][0]
    for row, copy in zip(found["rows"], found["evidence"]["rows of training"]):
        assert texts[rows[row]] == texts[rows[copy]] and row != copy


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (("task=ranking", "data=table", "data.query=x", *TABLE[1:]), "data"),
        (("task=regression", *TABLE, "data.cache=cache"), "duplicates"),
    ],
)
def test_data_of_which_less_can_be_said(
    mlfund: Command, tmp_path: Path, options: tuple[str, ...], missing: str
) -> None:
    generator = np.random.default_rng(0)
    rows = {"x": np.arange(600) // 6, **{f"f{i}": generator.normal(size=600) for i in range(3)}}
    pl.DataFrame({**rows, "y": generator.integers(0, 3, 600)}).write_csv(tmp_path / "t.csv")
    before = mlfund("doctor", *options)
    assert before.code == 0 and missing in before.json["missing"], before.err
    run = mlfund("train", *options, "logger=none", "references=false", "trainer.max_epochs=1").json["run"]
    evidence = json.loads((Path(run) / "evidence.json").read_text())
    assert missing in evidence["data"]["missing"]
    assert "doctor_failed" not in [finding["name"] for finding in findings(run)]


def test_a_failure_here_costs_neither_result_nor_other_findings(
    mlfund: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def fail(*_: Any) -> None:
        raise RuntimeError("no reason")

    monkeypatch.setattr("lit_mlfund.diagnostics.measures.examine.examine", fail)
    outcome = mlfund("train", "task=binary", "data=breast_cancer", "trainer.max_epochs=1", "logger=none")
    assert outcome.code == 0 and "doctor_failed" in outcome.json["findings"]
    assert len(outcome.json["findings"]) > 1
    again = mlfund("doctor", f"run={outcome.json['run']}").json["findings"]
    assert again == findings(outcome.json["run"])


def test_wrong_input(mlfund: Command, tmp_path: Path) -> None:
    write(tmp_path / "t.csv")
    for words, told in (
        (("task=binary", "data=table", "data.path=nowhere.csv", "data.target=y"), "nowhere.csv"),
        (("task=binary", "data=table", "data.path=t.csv", "data.target=z"), "'z'"),
        (("task=binary", "data=breast_cancer", "run=x"), "run="),
        (("task=binary", "-m"), "without -m"),
        (("task=binry",), "binary"),
        (("run=x", "rnu=y"), "rnu"),
    ):
        outcome = mlfund("doctor", *words)
        assert outcome.code == 2 and told in outcome.err and "Traceback" not in outcome.err, words
    assert not (tmp_path / "runs").exists()
