"""Every shipped optimizer and schedule that needs no extra, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.conftest import Command

QUICK = ("data=breast_cancer", "trainer.max_epochs=3", "references=false", "logger=none", "test=true")


@pytest.mark.parametrize("optim", ["sgd", "adam", "adamw", "adafactor", "muon"])
def test_optimizers(mlfund: Command, optim: str) -> None:
    outcome = mlfund("train", f"optim={optim}", *QUICK)
    assert outcome.code == 0, outcome.err


def test_schedule_free_is_measured_and_saved_with_the_weights_that_it_serves(mlfund: Command) -> None:
    pytest.importorskip("schedulefree")
    outcome = mlfund("train", "optim=schedule_free", "schedule=constant", "optim.lr=1e-2", *QUICK)
    assert outcome.code == 0, outcome.err
    metrics = json.loads((Path(outcome.json["run"]) / "metrics.json").read_text())
    assert metrics["splits"]["val"]["auroc"]["value"] == outcome.json["objective"]["value"]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "inverse_sqrt", "linear", "one_cycle"])
def test_schedules(mlfund: Command, schedule: str) -> None:
    outcome = mlfund("train", f"schedule={schedule}", *QUICK)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("accumulate", [1, 2])  # by several steps a call, and by Lightning's own loop
def test_reduce_on_plateau_follows_the_direction_of_the_metric(mlfund: Command, accumulate: int) -> None:
    outcome = mlfund(
        "train", "schedule=reduce_on_plateau", "schedule.patience=0", "schedule.threshold=0.5", *QUICK,
        "trainer.max_epochs=4", f"trainer.accumulate_grad_batches={accumulate}", "callbacks=none",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    import torch

    run = Path(outcome.json["run"])
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    # AUROC never rises by half: each of the validations after the first cuts the rate to a tenth
    assert state["lr_schedulers"][0]["mode"] == "max"
    assert state["lr_schedulers"][0]["_last_lr"] == pytest.approx([1e-3 * 0.1**3] * 2)
    assert json.loads((run / "result.json").read_text())["status"] == "done"
