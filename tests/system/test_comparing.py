"""Runs are found by name, shown again and compared, as a user does it after training."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
import torch

from lit_mlfund.metrics import evaluate_binary

from .conftest import Command

QUICK = ("references=false", "logger=files", "logger.card=false", "trainer.max_epochs=2", "model=linear")


@pytest.fixture
def trained(mlfund: Command, table: Path) -> list[Path]:
    """Three runs on a table; the third one was split otherwise."""
    data = (
        "task=binary",
        "data=table",
        f"data.path={table}",
        "data.target=label",
        "data.exclude=[value,kind]",
    )
    different = (("optim.lr=0.01",), ("optim.lr=0.1", "seed=1"), ("data.split_seed=1",))
    return [Path(mlfund("train", *data, *QUICK, *own).json["run"]) for own in different]


class Page(HTMLParser):
    """Collects the addresses and the texts of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.labels: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = dict(attributes)
        self.links += [told[name] or "" for name in ("href", "src") if name in told]
        self.labels += [told["aria-label"] or ""] if "aria-label" in told else []


def test_from_names_to_a_comparison(
    mlfund: Command, trained: list[Path], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = trained

    listed = mlfund("runs", "sort=test/auroc", "last=1").json
    assert listed["total"] == 3 and len(listed["runs"]) == 1
    best = max(
        trained, key=lambda run: json.loads((run / "result.json").read_text())["test"]["auroc"]["value"]
    )
    assert listed["runs"][0]["run"] == str(best)

    measured = mlfund("evaluate", "latest-2").json
    assert measured["run"] == str(first)
    result = json.loads((first / "result.json").read_text())
    assert measured["metrics"] == result["test"]
    assert mlfund("evaluate", f"run={second.name[-6:]}", "split=val").json["run"] == str(second)
    assert mlfund("doctor", third.name[-6:]).json["run"] == str(third)
    assert mlfund("predict", "latest", f"data.path={table}").json["run"] == str(third)
    missing = mlfund("evaluate", "lates")
    assert missing.code == 2 and f"the latest are {third.name}, {second.name}, {first.name}" in missing.err

    shown = mlfund("show", "latest-1")
    assert shown.json["test"] == json.loads((second / "result.json").read_text())["test"]
    assert shown.json["configuration"]["optim.lr"]["value"] == "0.1"
    assert "optim.eps" not in shown.json["configuration"]
    assert "val/log_loss" in shown.err and "average_precision" in shown.err

    monkeypatch.setenv("COLUMNS", "200")
    compared = mlfund("compare", "latest-2", "latest-1", "latest")
    assert compared.code == 0
    told = compared.json
    assert told["given"] == {
        "optim.lr": ["0.01", "0.1", "–"],
        "seed": ["–", "1", "–"],
        "data.split_seed": ["–", "–", "1"],
    }
    assert told["configuration"] == {"data.seed": ["0", "1", "0"]}
    evaluations = [_evaluation(run) for run in trained[:2]]
    for metric, expected in evaluations[1].differences(evaluations[0]).items():
        one, other, elsewhere = told["metrics"][metric]
        assert "difference" not in one
        for name in ("value", "low", "high"):
            assert other["difference"][name] == pytest.approx(getattr(expected, name), rel=1e-4, abs=1e-6)
        assert elsewhere["difference"] is None and elsewhere["reason"] == "other rows"
    assert "other rows" in compared.err

    page = Page(text := (tmp_path / "compare.html").read_text())
    assert page.links == [] and "http" not in text  # no network, and no card to link to
    curves = [label for label in page.labels if label.startswith("train/loss by epoch: A from ")]
    last = [json.loads((run / "metrics.json").read_text())["history"][-1]["train/loss"] for run in trained]
    assert re.findall(r"to ([\d.]+)", curves[0]) == [f"{value:.4g}" for value in last]

    again = mlfund("train", "run=latest-2", "name=again")
    assert again.code == 0 and "-again-" in again.json["run"]
    assert again.json["test"] == result["test"]
    same = mlfund("compare", "again", first.name[-6:], "output=same.html").json
    assert {
        cell[1]["difference"]["high"] for name, cell in same["metrics"].items() if name != "ece_null"
    } == {0.0}


def _evaluation(run: Path):
    frame = pl.read_parquet(run / "predictions" / "test.parquet")
    probability = torch.tensor(frame["probability"].to_list(), dtype=torch.float64)
    return evaluate_binary(probability.logit(), torch.tensor(frame["target"].to_list()))


def test_jobs_of_a_sweep(mlfund: Command, table: Path) -> None:
    data = (
        "task=regression",
        "data=table",
        f"data.path={table}",
        "data.target=value",
        "data.exclude=[label,kind]",
    )
    swept = mlfund("train", "-m", *data, *QUICK, "optim.lr=0.01,0.1", "seed=0,1", "name=rates")
    assert swept.code == 0
    runs = [json.loads(line)["run"] for line in swept.out.splitlines() if line.startswith("{")]
    assert mlfund("show", "rates/3").json["run"] == runs[3]
    groups = mlfund("runs", "over=seed").json["groups"]
    assert sorted(group["runs"] for group in groups) == [[runs[1], runs[0]], [runs[3], runs[2]]]
    for group in groups:
        values = [
            json.loads((Path(run) / "result.json").read_text())["test"]["rmse"]["value"]
            for run in group["runs"]
        ]
        assert group["test"]["rmse"]["mean"] == pytest.approx(sum(values) / 2)
        assert group["test"]["rmse"]["deviation"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    compared = mlfund("compare", *(f"rates/{job}" for job in range(4)), "over=seed")
    assert compared.json["given"] == {"optim.lr": ["0.01", "0.1"]}
    assert compared.json["metrics"]["rmse"][1]["difference"] is not None and "± " in compared.err
