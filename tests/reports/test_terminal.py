"""Numbers as text: what a person reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lit_mlfund.reports.results import result_table
from lit_mlfund.reports.tables import format_table
from lit_mlfund.reports.terminal import (
    evaluation_text,
    lr_find_text,
    prediction_text,
    run_text,
    start_text,
    wrap,
)
from lit_mlfund.startup.streams import OUTPUT


def test_a_row_per_metric_and_a_column_per_reference() -> None:
    entry = {"value": 0.7, "low": 0.6, "high": 0.8}
    metrics = {
        "splits": {"test": {"auroc": entry, "ece": entry}},
        "references": {"gradient_boosting": {"test": {"auroc": {"value": 0.5, "low": 0.4, "high": 0.6}}}},
    }
    header, rows = result_table(metrics)
    assert header == ["metric", "this model", "95 % interval", "gradient boosting"]
    assert rows == [["auroc", "0.7", "0.6 … 0.8", "0.5"], ["ece", "0.7", "0.6 … 0.8", "–"]]


def test_long_lines_are_broken_at_blanks() -> None:
    assert wrap("  numeric: aa, bb, cc, dd", 16) == "  numeric: aa,\n      bb, cc, dd"
    assert wrap("short", 20) == "short"
    assert wrap("a " * 50, 20, max_lines=2).splitlines()[-1].endswith(" …")


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_what_is_said_at_the_start(run_dir: Path) -> None:
    data = {
        "rows": {"train": 2800, "val": 60, "test": 60},
        "queries": {"train": 28, "val": 6, "test": 6},
        "target": {"column": "price", "mean": 3.14159, "std": 2.0},
        "columns": {
            "numeric": ["a", "b"],
            "categorical": {"color": 3, "city": 1234},
            "date": [],
            "dropped": {"id": "a number for each row", "q": []},
            "items": {"numeric": ["x"], "categorical": {"kind": 2}, "date": []},
            "text": "the whole file",
        },
        "imputed_cells": {"train": {"a": 1000, "b": 7}, "val": {}},
        "unknown_categories": {"test": {"city": 2}},
        "notes": ["val, test: drawn at random"],
    }
    provenance = {"task": "regression", "data": data, "num_parameters": 12345}
    (run_dir / "provenance.json").write_text(json.dumps(provenance))
    assert start_text(run_dir).splitlines() == [
        "regression  train 2,800  val 60  test 60 rows",
        "  lists: train 28  val 6  test 6 queries",
        "  target: price, mean 3.142, standard deviation 2 in train",
        "  numeric: a, b",
        "  categorical: color (3), city (1,234)",
        "  dropped: id (a number for each row)",
        "  items: numeric x; categorical kind (2)",
        "  text: the whole file",
        "  imputed: train 1,007 cells",
        "  unknown categories: test 2 cells",
        "  val, test: drawn at random",
        "model  12,345 parameters",
        f"run    {run_dir}",
    ]


@pytest.mark.parametrize("found", [True, False])
def test_what_is_said_at_the_end(run_dir: Path, found: bool) -> None:
    entry = {"value": 0.7, "low": 0.6, "high": 0.8}
    table = format_table(["metric", "this model", "95 % interval"], [["auroc", "0.7", "0.6 … 0.8"]])
    finding = {
        "severity": "warning",
        "name": "shift",
        "symptom": "Rows differ.",
        "fixes": ["optim.lr=1", "seed=2"],
    }
    metrics: dict[str, Any] = {"splits": {"test": {"auroc": entry}}, "references": {}}
    (run_dir / "findings.json").write_text(json.dumps([finding] if found else []))
    said = ["warning: shift: Rows differ.", "    try optim.lr=1", "    try seed=2"]
    assert run_text(run_dir).splitlines() == (said if found else [])  # as of a run that was stopped
    (run_dir / "metrics.json").write_text(json.dumps(metrics))
    (run_dir / "report.html").touch()
    assert run_text(run_dir).splitlines() == [
        "",
        *table.splitlines(),
        "",
        *(said if found else ["verdict: no problems found"]),
        f"report: {run_dir / 'report.html'}",
    ]


def test_what_is_said_of_an_evaluation(run_dir: Path) -> None:
    entry = {"value": 0.7, "low": 0.6, "high": 0.8}
    table = format_table(["metric", "this model", "95 % interval"], [["auroc", "0.7", "0.6 … 0.8"]])
    result = {"rows": 1200, "queries": 30, "split": "val", "path": None, "metrics": {"auroc": entry}}
    assert evaluation_text(result) == f"val split  1,200 rows  30 queries\n\n{table}\n"
    result |= {"path": "new.csv", "notes": {"imputed_cells": 3, "unknown_categories": 0}}
    assert evaluation_text(result) == f"new.csv  1,200 rows  30 queries\n  imputed_cells 3\n\n{table}\n"


def test_lines_to_paste(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_dir / "my runs" / "a"
    (run / "checkpoints").mkdir(parents=True)
    (run / "tensorboard").mkdir()
    for name in ("report.html", "checkpoints/best.ckpt"):
        (run / name).touch()
    (run / "result.json").write_text('{"status": "done"}')
    assert run_text(run, ["a picture is missing"], ["mine"]).splitlines() == [
        "a picture is missing",
        f"report: {run}/report.html",
        f"mlfund predict 'run={run}' data.path=FILE --trust mine",
        f"tensorboard --logdir '{run}/tensorboard'",
    ]
    monkeypatch.chdir(run_dir)  # from here they are short
    assert run_text(run).splitlines() == [
        "report: my runs/a/report.html",
        "mlfund predict 'run=my runs/a' data.path=FILE",
        "tensorboard --logdir 'my runs/a/tensorboard'",
    ]
    with OUTPUT.set(quiet=True):
        assert run_text(run) == ""
    (run / "result.json").write_text('{"status": "interrupted"}')  # the reason says how to go on
    assert run_text(run) == ""


def test_a_narrow_table_of_results(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    test = {
        name: {"value": value, "low": value, "high": value}
        for name, value in (("auroc", 0.7), ("ece", 0.107), ("ece_null", 0.045))
    }
    references = {name: {"test": test} for name in ("constant", "linear", "gradient_boosting")}
    (run_dir / "metrics.json").write_text(json.dumps({"splits": {"test": test}, "references": references}))
    (run_dir / "findings.json").write_text("[]")
    assert [line.rstrip() for line in run_text(run_dir).splitlines()] == [
        "",
        "         this           95 %",
        "metric  model       interval  constant",
        "──────────────────────────────────────",
        "auroc     0.7      0.7 … 0.7       0.7",
        "ece     0.107  0.107 … 0.107     0.107",
        "+2 in metrics.json",
        "ece 0.107 (0.045 if calibrated)",
        "",
        "verdict: no problems found",
    ]


def test_rates_and_predictions_in_tables(run_dir: Path) -> None:
    found = {"lr": 0.00097, "steepest_at": 0.00421, "lowest_at": 0.0097, "override": "optim.lr=0.00097"}
    assert lr_find_text(found | {"reason": "a tenth", "picture": str(run_dir / "lr.png")}).splitlines() == [
        "                    learning rate",
        "─────────────────────────────────",
        "recommended               0.00097",
        "loss falls fastest         0.0042",
        "loss is lowest             0.0097",
        "",
        "optim.lr=0.00097  (a tenth)",
        f"{run_dir}/lr.png",
    ]
    written = {"output": str(run_dir / "p.csv"), "columns": ["prediction"], "rows": 2000, "notes": {"new": 3}}
    rows = [{"a": 0.123456, "prediction": "no"}, {"a": None, "prediction": "yes\n" * 20}]
    assert prediction_text(written, rows).splitlines() == [
        f"{run_dir}/p.csv  2,000 rows",
        "  new 3",
        "",
        "prediction                  a",
        "─────────────────────────────",
        "no                     0.1235",
        "yes yes yes yes yes …       –",
    ]
