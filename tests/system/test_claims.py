"""A sweep that ends in a page and a picture, through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.conftest import Command

CLAIM = """# @package _global_
defaults:
  - override /task: binary
  - override /data: breast_cancer
  - override /callbacks: none
  - override /logger: files
references: false
checkpoint: last
trainer: {max_epochs: 2, gradient_clip_val: null, log_every_n_steps: 4}
schedule: null
hydra: {sweeper: {params: {optim.lr: "1e-3,1e30", seed: "0,1"}}}
claim:
  _target_: lit_mlfund.sweeps.claims.claim.Claim
  statement: A huge learning rate ends in no number
  compare: [optim.lr]
  values: [test/log_loss, train/log_loss, weights/norm]
  expect: ["failed: optim.lr=1e30 > optim.lr=1e-3"]
  panels:
    - {_target_: lit_mlfund.sweeps.claims.panels.Curves, y: train/loss, label: training loss}
    - {_target_: lit_mlfund.sweeps.claims.panels.Dots, y: test/log_loss, label: log loss}
    - {_target_: lit_mlfund.sweeps.claims.panels.Lines, x: optim.lr, y: test/log_loss, log: x}
"""


def test_a_claim_ends_in_a_page_and_a_picture(mlfund: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text(CLAIM)
    told = mlfund("train", "-m", "--config-dir", str(folder.parent), "experiment=tiny")
    assert told.code == 3, told.err  # the runs that fail are what the claim is about
    (page,) = (tmp_path / "runs" / "sweeps").glob("*/claim.md")
    assert f"claim: {page}" in told.err
    text = page.read_text()
    assert "**It holds on these data.**" in text
    assert "| `failed: optim.lr=1e30 > optim.lr=1e-3` | 1 | 1 … 1 | holds |" in text
    assert "| 1e+30 | – | – | – | 2 of 2 |" in text
    assert "4 runs, seeds 0, 1, 2 failed · rows: train " in text and " · torch 2." in text
    assert f"mlfund train -m --config-dir {folder.parent} experiment=tiny" in text
    assert (page.parent / "claim.png").read_bytes().startswith(b"\x89PNG")

    (folder / "tiny.yaml").write_text(CLAIM.replace("> optim.lr=1e-3", "> optim.rl=1e-3"))
    told = mlfund("train", "-m", "--config-dir", str(folder.parent), "experiment=tiny")
    assert told.code == 2
    assert "optim.rl is not compared; there is optim.lr" in told.err
    assert len(list((tmp_path / "runs" / "sweeps").iterdir())) == 1  # nothing was started


def test_the_last_checkpoint_is_measured_when_asked_for(mlfund: Command) -> None:
    rough = ("optim=sgd", "optim.lr=20", "schedule=null", "monitor=val/loss", "trainer.max_epochs=4")
    files = ("task=binary", "data=breast_cancer", "logger=files", "references=false", "callbacks=none")
    measured = {}
    for which in ("best", "last"):
        told = mlfund("train", *files, *rough, f"checkpoint={which}")
        assert told.code == 0, told.err
        run = Path(told.json["run"])
        metrics = measured[which] = json.loads((run / "metrics.json").read_text())
        assert not (run / "report.html").exists() and not (run / "tensorboard").exists()
        at = metrics["objective"]["step"] if which == "best" else metrics["numbers"]["steps"]
        (seen,) = [entry for entry in metrics["history"] if entry["step"] == at]
        assert metrics["splits"]["val"]["log_loss"]["value"] == pytest.approx(seen["val/log_loss"])
    assert measured["best"]["objective"] == measured["last"]["objective"]
    assert (
        measured["best"]["objective"]["step"] < measured["last"]["numbers"]["steps"]
    )  # else it says nothing
    numbers = measured["last"]["numbers"]
    assert numbers["optimizer/bytes_per_parameter"] == pytest.approx(
        4, abs=0.01
    )  # momentum, but no step counter
    assert numbers["weights/norm"] > 0 and numbers["weights/zero_share"] == 0
    assert numbers["train/loss"] == pytest.approx(numbers["train/log_loss"])
    steps = measured["last"]["steps"]
    assert steps[-1]["step"] == numbers["steps"] == sum(entry["num_steps"] for entry in steps)
