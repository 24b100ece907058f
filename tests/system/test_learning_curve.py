"""`doctor.learning_curve=true`: trainings on parts of the rows, and what twice the rows would bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.system.conftest import Command

SMALL = ("task=binary", "data=breast_cancer", "model=linear", "references=false", "logger=none")
CURVE = (*SMALL, "trainer.max_epochs=2", "doctor.learning_curve=true")


def evidence(run: str) -> dict[str, Any]:
    return json.loads((Path(run) / "evidence.json").read_text())


def test_parts_of_the_rows_are_trained_on(mlfund: Command) -> None:
    told = mlfund("train", *CURVE)
    assert told.code == 0, told.err
    assert "learning_curve" in told.json["findings"]
    curve = evidence(told.json["run"])["learning_curve"]
    assert curve["rows"] == [398, 49, 49, 99, 99, 199, 199]
    assert curve["values"][0] == pytest.approx(told.json["test"]["auroc"]["value"])
    assert len(set(curve["values"])) > 4
    assert curve["gain"]["low"] <= curve["gain"]["value"] <= curve["gain"]["high"]
    again = mlfund("doctor", f"run={told.json['run']}")  # from the evidence alone
    assert [finding["name"] for finding in again.json["findings"]] == told.json["findings"]
    plain = mlfund("train", *SMALL, "trainer.max_epochs=2")  # the run itself is not changed
    assert plain.json["test"] == told.json["test"]
    weights = [
        torch.load(Path(result["run"]) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for result in (told.json, plain.json)
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert evidence(plain.json["run"])["learning_curve"] is None


def test_time_is_bounded(mlfund: Command) -> None:
    told = mlfund("train", *CURVE, "doctor.budget_s=0")
    assert told.code == 0, told.err
    found = evidence(told.json["run"])
    assert found["learning_curve"] is None
    assert (
        found["missing"]["learning_curve"]
        == "doctor.budget_s=0 is too short for trainings on 2 sizes of parts"
    )
    assert "learning_curve" not in told.json["findings"] and "doctor_failed" not in told.json["findings"]


def test_rows_that_cannot_be_divided_are_told(mlfund: Command) -> None:
    told = mlfund("train", "task=retrieval", *SMALL[3:], "trainer.max_steps=2", "doctor.learning_curve=true")
    assert told.code == 0, told.err
    assert "no rows or lists in memory" in evidence(told.json["run"])["missing"]["learning_curve"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("doctor.budget_s=-1", "doctor.budget_s must not be negative, got -1"),
        ("doctor.rows=0", "doctor.rows must be at least 1, got 0"),
        ("doctor.learning_curves=true", "doctor.learning_curves: unknown; did you mean learning_curve?"),
    ],
)
def test_wrong_values_are_told(mlfund: Command, override: str, message: str) -> None:
    told = mlfund("train", *SMALL, override)
    assert told.code == 2
    assert message in told.err
