"""A run folder that version 0.1.0 wrote, before its files moved: evaluated, resumed and repeated by today's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.system.conftest import Command

MADE_THEN = Path(__file__).with_name("run_of_0_1_0")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shutil.copytree(MADE_THEN, tmp_path / "old")


def test_evaluated_as_then(mlfund: Command, run: Path) -> None:
    then = json.loads((MADE_THEN / "evaluated.json").read_text())["metrics"]
    now = mlfund("evaluate", f"run={run}").json["metrics"]
    assert now == {name: pytest.approx(values, rel=1e-5) for name, values in then.items()}


def test_repeated(mlfund: Command, run: Path) -> None:
    outcome = mlfund("train", f"run={run}", "name=again")
    then = json.loads((MADE_THEN / "result.json").read_text())
    assert outcome.code == 0
    assert outcome.json["objective"]["value"] == pytest.approx(then["objective"]["value"], abs=1e-3)
    assert outcome.json["test"] == {name: pytest.approx(v, abs=1e-3) for name, v in then["test"].items()}


def test_resumed_from_its_last_checkpoint(mlfund: Command, run: Path) -> None:
    (run / "result.json").unlink()
    outcome = mlfund("train", f"run={run}")
    assert outcome.code == 0
    assert outcome.json["run"] == str(run)
    assert len(json.loads((run / "metrics.json").read_text())["history"]) == 3
    assert "epoch 3/3" not in outcome.err  # nothing was left to train
