"""Fixes that are tried: `doctor.budget_s` after a run, and `mlfund doctor run=… verify=true`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lit_mlfund.runs import verification
from tests.system.conftest import Command

SLOW = (
    "task=binary",
    "data=breast_cancer",
    "model=mlp",
    "optim.lr=1e-6",
    "trainer.max_epochs=5",
    "logger=none",
)
GAIN = "gain in val/log_loss by fix"


def findings(run: Path) -> list[dict[str, Any]]:
    return json.loads((run / "findings.json").read_text())


def test_fixes_are_ordered_by_what_they_gain(mlfund: Command) -> None:
    told = mlfund("train", *SLOW, "doctor.budget_s=100")
    assert told.code == 0, told.err
    run = Path(told.json["run"])
    first = findings(run)[0]
    assert first["name"] == "learning_rate_too_low"
    gains = first["evidence"][GAIN]
    assert set(gains) == {"optim.lr=1e-05", "optim.lr=0.0001"} == set(first["fixes"])
    assert first["fixes"] == sorted(gains, key=lambda fix: -gains[fix]["value"])
    assert all(gain["low"] > 0 for gain in gains.values())
    # the same from the evidence alone; a fix that did not help comes last
    evidence = json.loads((run / "evidence.json").read_text())
    assert evidence["cost"]["trainings"] > 0
    best = first["fixes"][0]
    evidence["probes"]["gains"][best] = {"value": -0.1, "low": -0.2, "high": 0.0}
    (run / "evidence.json").write_text(json.dumps(evidence))
    assert mlfund("doctor", f"run={run}").json["findings"][0]["fixes"] == first["fixes"][::-1]


def test_the_first_fix_is_verified(mlfund: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    told = mlfund("train", *SLOW)
    run = Path(told.json["run"])
    assert GAIN not in findings(run)[0]["evidence"]  # nothing is tried unless asked for
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    outcome = mlfund("doctor", f"run={run}", "verify=true")
    assert outcome.code == 0, outcome.err
    verified = outcome.json["verified"]
    assert (verified["finding"], verified["metric"]) == ("learning_rate_too_low", "val/log_loss")
    assert verified["fix"] == findings(run)[0]["fixes"][0]
    assert verified["gain"]["low"] > 0 and verified["closed"]
    assert "learning_rate_too_low: closed by optim.lr=" in outcome.err
    assert sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*")) == before
    # without a change the training is the same to the bit, which closes nothing
    monkeypatch.setattr(verification, "with_fix", lambda config, fix: config)
    same = mlfund("doctor", f"run={run}", "verify=true").json["verified"]
    assert same["gain"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert not same["closed"]
    monkeypatch.setattr(verification, "with_fix", lambda config, fix: None)
    refused = mlfund("doctor", f"run={run}", "verify=true")
    assert refused.code == 2 and "verify: optim.lr=1e-05 is more than one value" in refused.err
    wrong = mlfund("doctor", f"run={run}", "verify=maybe")
    assert wrong.code == 2 and "verify: expected true or false, got maybe" in wrong.err


def test_nothing_to_verify(mlfund: Command) -> None:
    told = mlfund("train", *SLOW[:2], "model=linear", "logger=none", "optim.lr=0.03", "doctor.budget_s=100")
    assert not any(finding["fixes"] for finding in findings(Path(told.json["run"]))), told.json
    outcome = mlfund("doctor", f"run={told.json['run']}", "verify=true")
    assert outcome.code == 0 and outcome.json["verified"] is None
    assert "no finding has a fix to verify" in outcome.err
