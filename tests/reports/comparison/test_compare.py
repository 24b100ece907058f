"""What a comparison says of runs that differ in task, version, data, rows, or in nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit_mlfund.cli import main
from lit_mlfund.reports.comparison.compare import compare, compare_groups
from lit_mlfund.reports.comparison.compare_text import (
    comparison_record,
    difference_text,
    metrics_table,
    number_text,
)
from lit_mlfund.reports.comparison.curves import Curve, chart, letter
from lit_mlfund.run_folders.groups import groups
from lit_mlfund.run_folders.record import Record, read_record
from lit_mlfund.run_folders.resamples import write_resamples


def write(
    root: Path,
    name: str,
    *given: str,
    value: float = 0.5,
    metric: str = "auroc",
    rows: str | None = "same",
    provenance: dict[str, Any] | None = None,
    status: str = "done",
) -> Record:
    folder = root / "runs" / "binary" / name
    (folder / "predictions").mkdir(parents=True)
    (folder / "run.yaml").write_text(f"# mlfund train {' '.join(given)}\nshape: binary\n")
    (folder / "provenance.json").write_text(json.dumps({"task": "binary", **(provenance or {})}))
    history = [{"epoch": 1, "val/auroc": value}, {"epoch": 2, "val/auroc": None, "train/loss": 1.0}]
    (folder / "metrics.json").write_text(json.dumps({"history": history}))
    result = {
        "status": status,
        "objective": {"name": f"val/{metric}", "value": value},
        "test": {metric: {"value": value, "low": value - 0.1, "high": value + 0.1}},
        "findings": [],
        "seconds": 1,
    }
    (folder / "result.json").write_text(json.dumps(result))
    if rows is not None:
        write_resamples(folder, rows, {metric: value + np.linspace(-0.01, 0.01, 1001) * (1 + value)})
    record = read_record(folder)
    assert record is not None
    return record


def test_paired_differences_only_on_the_same_rows(tmp_path: Path) -> None:
    records = [
        write(tmp_path, "a", value=0.5),
        write(tmp_path, "b", value=0.6),
        write(tmp_path, "c", value=0.6, rows="other"),
        write(tmp_path, "d", value=0.6, rows=None),
    ]
    cells = compare(records, [{}] * 4).metrics["auroc"]
    assert cells[1].difference is not None
    expected = np.quantile(0.1 + np.linspace(-0.01, 0.01, 1001) * 0.1, [0.025, 0.975])
    assert cells[1].difference.value == pytest.approx(0.1)
    assert [cells[1].difference.low, cells[1].difference.high] == pytest.approx(list(expected))
    assert [cell.verdict for cell in cells] == ["", "better", "", ""]
    assert [cell.reason for cell in cells] == ["", "", "other rows", "not kept"]
    assert difference_text(cells[1]) == "+0.1 (+0.099 … +0.1) better"
    assert [difference_text(cell) for cell in cells[2:]] == ["other rows", "not kept"]


def test_lower_is_better_for_a_loss(tmp_path: Path) -> None:
    records = [write(tmp_path, "a", value=0.5, metric="rmse"), write(tmp_path, "b", value=0.6, metric="rmse")]
    assert compare(records, [{}, {}]).metrics["rmse"][1].verdict == "worse"
    records = [write(tmp_path, "c", value=0.5, metric="gain"), write(tmp_path, "d", value=0.6, metric="gain")]
    assert compare(records, [{}, {}]).metrics["gain"][1].verdict == ""  # nobody told which is better


def test_what_differs_is_told_once(tmp_path: Path) -> None:
    one = {
        "packages": {"torch": "2.13", "numpy": "2"},
        "python": "3.11",
        "sources": [{"path": "/x.csv", "size": 1, "changed": 5, "probes": "abc"}],
        "data": {"rows": {"train": 10}},
    }
    two = {**one, "packages": {"torch": "2.15", "numpy": "2"}, "data": {"rows": {"train": 20}}}
    two["sources"] = [{"path": "/x.csv", "size": 1, "changed": 9, "probes": "def"}]
    records = [
        write(tmp_path, "a", "optim.lr=1", "loss=mse", provenance=one),
        write(tmp_path, "b", "optim.lr=2", "model=big", provenance=two),
    ]
    configs = [
        {"optim": {"lr": 1, "eps": 0}, "model": {"_target_": "A", "size": 1, "width": 2}, "runs_dir": "x"},
        {"optim": {"lr": 2, "eps": 0}, "model": {"_target_": "B", "size": 2, "depth": 3}, "runs_dir": "y"},
    ]
    told = comparison_record(compare(records, configs))
    assert told["given"] == {"optim.lr": ["1", "2"], "loss": ["mse", "–"], "model": ["–", "big"]}
    assert told["configuration"] == {"model._target_": ["A", "B"], "model.size": ["1", "2"]}
    assert told["versions"] == {"torch": ["2.13", "2.15"]}
    assert told["data"] == {"file 1.content": ["abc", "def"], "rows.train": ["10", "20"]}


def test_groups_are_paired_over_their_seeds(tmp_path: Path) -> None:
    values = {
        ("a", 0): 0.5,
        ("a", 1): 0.6,
        ("a", 2): 0.7,
        ("b", 0): 0.53,
        ("b", 1): 0.62,
        ("b", 2): 0.74,
        ("b", 3): 0.1,
    }
    records = [
        write(tmp_path, f"{model}{seed}", f"model={model}", f"seed={seed}", value=value)
        for (model, seed), value in values.items()
    ]
    records.append(write(tmp_path, "c", "model=c", "seed=0", value=0.9))
    records.append(write(tmp_path, "failed", "model=c", "seed=1", value=0.9, status="failed"))
    first, second, third = compare_groups(groups(records, ["seed"]), ["seed"]).metrics["auroc"]
    assert (first.value, first.deviation) == pytest.approx((0.6, 0.1))
    assert second.difference is not None and second.verdict == "better"
    gained = [0.03, 0.02, 0.04]
    half = 4.302653 * np.std(gained, ddof=1) / math.sqrt(3)  # 97.5 % of Student's t with 2 degrees of freedom
    assert second.difference.value == pytest.approx(0.03)
    assert second.difference.high == pytest.approx(0.03 + half)
    assert third.value == 0.9 and third.difference is None and third.reason == "fewer than 2 of the same seed"


def test_metrics_are_side_by_side_with_holes(tmp_path: Path) -> None:
    records = [write(tmp_path, "a", metric="rmse"), write(tmp_path, "b", metric="auroc")]
    header, rows = metrics_table(compare(records, [{}, {}]), number_text)
    assert header == ["metric", "A", "B", "B − A"]
    assert rows == [["rmse", "0.5", "–", "–"], ["auroc", "–", "0.5", "–"]]


def test_curves_leave_out_what_is_not_finite() -> None:
    drawn = chart(
        "val/auroc", [Curve(0, [(1, 0.5), (2, 0.75)]), Curve(1, []), Curve(27, [(1, 0.6)])], "epoch"
    )
    assert 'aria-label="val/auroc by epoch: A from 0.5 to 0.75; AB from 0.6 to 0.6"' in drawn
    assert drawn.count("<polyline") == 1 and drawn.count("<circle") == 1
    assert chart("val/auroc", [Curve(0, [])], "epoch") == ""
    assert [letter(column) for column in (0, 25, 26, 51, 52)] == ["A", "Z", "AA", "AZ", "BA"]


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "one", "seed=0", "x=<b>&")
    write(tmp_path, "two", "seed=1", status="failed")
    assert main(["compare", "one", "two", "output=page.html"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["report"] == str(tmp_path / "page.html")
    assert "B two: two is failed" in shown.err
    page = (tmp_path / "page.html").read_text()
    assert "train/loss by epoch: A from 1 to 1" in page and "<b>&" not in page
    (tmp_path / "runs" / "binary" / "two" / "result.json").write_text("{")
    for arguments, problem in {
        ("one",): "name two or more runs: mlfund compare latest-1 latest",
        ("one", "one"): "is named twice",
        ("one", "two"): "two/result.json is damaged",
        ("one", "three"): "no run in",
        ("one", "runs"): "is not a run folder: it has no run.yaml",
        ("one", "two", "output=page.txt"): "output: expected a file that ends in .html",
        ("one", "two", "otput=page.html"): "otput: unknown; did you mean output?",
    }.items():
        assert main(["compare", *arguments]) == 2
        assert problem in capsys.readouterr().err
    write(tmp_path, "three", "seed=2", "x=<b>&")
    assert main(["compare", "one", "three", "over=seed,x"]) == 2
    assert "over: the runs differ in seed and x alone" in capsys.readouterr().err
