"""The doctor through the command line: causes of what is wrong, silence where nothing is, the same from evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.system.conftest import Command

QUIET = ("logger=none", "trainer.log_every_n_steps=10")


def findings(run: str) -> list[dict[str, Any]]:
    return json.loads((Path(run) / "findings.json").read_text())


def loud(run: str) -> list[str]:
    return [finding["name"] for finding in findings(run) if finding["severity"] != "info"]


def test_a_healthy_linear_model_on_few_rows(mlfund: Command) -> None:
    """Its interval overlaps the constant's, the paired one does not."""
    outcome = mlfund("train", "task=regression", "data=diabetes", "model=linear", "optim.lr=0.03", *QUIET)
    run = outcome.json["run"]
    assert loud(run) == [] and findings(run)[0]["name"] == "healthy"
    model, constant = outcome.json["test"]["rmse"], outcome.json["references"]["constant"]["rmse"]
    assert model["high"] > constant["low"]
    again = mlfund("doctor", f"run={run}")
    assert again.code == 0 and again.json == {"run": run, "findings": findings(run)}
    from lit_mlfund.atomic import to_json

    (Path(run) / "metrics.json").unlink()  # nothing but the evidence is read
    again = mlfund("doctor", f"run={run}")
    assert to_json(again.json["findings"], indent=1) + "\n" == (Path(run) / "findings.json").read_text()


def test_rows_learned_by_heart(mlfund: Command, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(600, 20))
    y = (x[:, 0] + 1.5 * generator.normal(size=600) > 0).astype(int)
    pl.DataFrame({**{f"x{i}": x[:, i] for i in range(20)}, "y": y}).write_csv(tmp_path / "noisy.csv")
    outcome = mlfund(
        "train", "task=binary", "data=table", "data.path=noisy.csv", "data.target=y", "data.batch_size=32",
        "model.hidden=[256,256]", "model.dropout=0.0", "optim.lr=3e-3", "schedule=constant", "callbacks=none",
        "checkpoint=last", "trainer.max_epochs=40", *QUIET,
    )  # fmt: skip
    first, *_ = findings(outcome.json["run"])
    assert first["name"] == "overfitting", first
    assert "test/log_loss" in first["symptom"] and "paired" in first["symptom"]
    assert first["fixes"][0] == "checkpoint=best"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (("optim.lr=1e-7",), "learning_rate_too_low"),
        (("optim=sgd", "optim.lr=30", "trainer.gradient_clip_val=10"), "learning_rate_too_high"),
    ],
)
def test_the_rate(mlfund: Command, changes: tuple[str, ...], name: str) -> None:
    outcome = mlfund("train", "task=binary", "data=breast_cancer", *changes, "trainer.max_epochs=8", *QUIET)
    assert loud(outcome.json["run"])[0] == name


LOSSES = """
import torch
from torch import nn

class LogOfProbability(nn.Module):
    tasks = ("binary",)

    def forward(self, logits, target):
        probability = (1000 * logits).sigmoid()
        return -(target * probability.log() + (1 - target) * (1 - probability).log()).mean()
"""


def test_a_loss_that_takes_the_logarithm_of_zero(mlfund: Command, tmp_path: Path, table: Path) -> None:
    (tmp_path / "own_losses.py").write_text(LOSSES)
    outcome = mlfund(
        "train", "task=binary", "data=table", f"data.path={table}", "data.target=label", "data.exclude=[value,kind]",
        "loss._target_=own_losses.LogOfProbability", *QUIET,
    )  # fmt: skip
    assert outcome.code == 3 and "Traceback" not in outcome.err
    run = outcome.json["run"]
    (finding,) = findings(run)
    assert finding["name"] == "log_of_zero" and finding["fixes"] == ["loss=bce"]
    assert finding["evidence"]["layer"] == "loss" and finding["evidence"]["operation"] == "log"
    assert finding["rows"] and "a logarithm of zero" in outcome.json["reason"]
    assert (Path(run) / "nonfinite.pt").exists()
    assert mlfund("doctor", f"run={run}").json["findings"] == [finding]


def test_doctor_none_and_its_absence(mlfund: Command, tmp_path: Path) -> None:
    short = ("trainer.max_epochs=1", "references=false", *QUIET)
    outcome = mlfund("train", "task=binary", "data=breast_cancer", "doctor=none", *short)
    run = Path(outcome.json["run"])
    assert outcome.json["findings"] == [] and not (run / "evidence.json").exists()
    told = mlfund("doctor", f"run={run}")
    assert told.code == 2 and "has no evidence.json" in told.err and "doctor=none" in told.err
    assert mlfund("doctor", "run=nowhere").code == 2
    assert mlfund("doctor").code == 2
    (run / "evidence.json").write_text('{"format": 99}')
    told = mlfund("doctor", f"run={run}")
    assert told.code == 2 and "format 99 is not known" in told.err


def test_a_failure_of_the_doctor_costs_no_result(mlfund: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from lit_mlfund.runs.doctor import doctor

    def fail(*_: Any) -> None:
        raise RuntimeError("no reason")

    monkeypatch.setattr(doctor, "evidence_of_run", fail)
    outcome = mlfund(
        "train", "task=binary", "data=breast_cancer", "trainer.max_epochs=1", "references=false", *QUIET
    )
    assert outcome.code == 0 and outcome.json["findings"] == ["doctor_failed"]
    assert "RuntimeError: no reason" in findings(outcome.json["run"])[0]["symptom"]


def test_twice_the_same_findings(mlfund: Command) -> None:
    texts = set()
    for _ in range(2):
        outcome = mlfund("train", "task=binary", "data=breast_cancer", "trainer.max_epochs=2", *QUIET)
        texts.add((Path(outcome.json["run"]) / "findings.json").read_text())
    assert len(texts) == 1
