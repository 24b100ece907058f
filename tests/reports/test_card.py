"""The run card has what a reader asks first, and names what could not be drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lit_mlfund.reports import pictures
from lit_mlfund.reports.card import write_card
from lit_mlfund.reports.holes import Holes


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished run on a test split of one class."""
    hole = {"value": None, "low": None, "high": None}
    loss = {"value": 0.5, "low": 0.4, "high": 0.6}
    files: dict[str, Any] = {
        "result.json": {"objective": {"name": "val/auroc", "value": None}, "seconds": 1.0},
        "metrics.json": {
            "history": [{"epoch": 1, "train/loss": 0.7, "val/loss": 0.7, "val/auroc": None}],
            "splits": {"test": {"auroc": hole, "log_loss": loss}},
            "references": {"constant": {"test": {"auroc": hole, "log_loss": loss}}},
        },
        "provenance.json": {
            "task": "binary",
            "figures": ["roc_and_precision_recall", "reliability"],
            "started": "today",
            "seed": 0,
            "num_parameters": 3,
            "sources": [{"path": "/data/a<b.csv"}],
            "data": {
                "rows": {"train": 4, "val": 2, "test": 2},
                "target": {"column": "sick", "classes": {"no": 3, "yes": 1}},
                "notes": ["val, test: drawn at random"],
            },
        },
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "run.yaml").write_text("# mlfund train task=binary\nseed: 0\n")
    (tmp_path / "predictions").mkdir()
    frame = pl.DataFrame({"target": [0.0, 0.0], "probability": [0.1, 0.4]})
    frame.write_parquet(tmp_path / "predictions" / "test.parquet")
    return tmp_path


def test_data_target_split_and_command_come_first(run_dir: Path) -> None:
    assert write_card(run_dir) == {}
    page = (run_dir / "report.html").read_text()
    top = page[: page.index("Verdict")]
    for part in (
        "/data/a&lt;b.csv",
        "train 4  val 2  test 2 rows",
        "sick, 1 is &#x27;yes&#x27;: 25.0\u00a0%",
        "drawn at random",
        "<code>mlfund train task=binary</code>",
    ):
        assert part in top, part


def test_values_that_are_missing_leave_gaps(run_dir: Path) -> None:
    assert write_card(run_dir) == {}
    drawn = sorted(file.stem for file in (run_dir / "pictures").iterdir())
    assert drawn == ["learning_curves", "reliability", "roc_and_precision_recall"]


def test_a_picture_that_fails_is_named_and_the_others_are_drawn(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "reliability", lambda table: 1 / 0)
    assert write_card(run_dir) == {"picture reliability": "ZeroDivisionError: division by zero"}
    page = (run_dir / "report.html").read_text()
    assert "missing in the report: picture reliability (ZeroDivisionError: division by zero)" in page
    assert "<h2>roc and precision recall</h2>" in page


@pytest.mark.parametrize("lost", ["predictions/test.parquet", "provenance.json"])
def test_a_file_that_is_lost_is_a_hole(run_dir: Path, lost: str) -> None:
    (run_dir / lost).unlink()
    holes = write_card(run_dir)
    assert holes and (run_dir / "report.html").exists() == (lost != "provenance.json")


def test_a_folder_that_takes_no_pictures(run_dir: Path) -> None:
    (run_dir / "pictures").write_text("")
    assert list(write_card(run_dir)) == ["pictures"]
    assert "missing in the report: pictures (FileExistsError" in (run_dir / "report.html").read_text()


def test_references_without_a_value_are_marked() -> None:
    hole = {"value": None, "low": None, "high": None}
    value = {"value": 0.5, "low": 0.4, "high": 0.6}
    figure = pictures.against_references("x", {"x": hole}, {"some_rule": {"x": value}})
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["some rule", "this model (no value)"]
    assert not np.isfinite(np.asarray(figure.axes[0].lines[-1].get_xdata(), dtype=float)).any()


def test_a_hole_keeps_the_first_line() -> None:
    holes = Holes()
    with holes.leave("a"):
        raise ValueError("one\ntwo")
    with holes.leave("b"):
        raise KeyError
    with pytest.raises(KeyboardInterrupt), holes.leave("c"):
        raise KeyboardInterrupt
    assert holes == {"a": "ValueError: one", "b": "KeyError"}
