"""Hydra's Optuna sweeper, where it is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.system.conftest import Command

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.sampler.seed=2", "references=false", "logger=files")
SEARCH += ("trainer.max_epochs=1",)


def test_the_best_rate_is_found(mlfund: Command, tmp_path: Path) -> None:
    asked = ("task=binary", "data=breast_cancer", "model=linear", "hydra.sweeper.n_trials=4")
    told = mlfund("train", "-m", *SEARCH, *asked, "optim.lr=tag(log, interval(1e-4, 1e-1))")
    assert told.code == 0, told.err
    (folder,) = (tmp_path / "runs" / "sweeps").iterdir()
    found = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    jobs = [json.loads(file.read_text()) for file in (folder / "jobs").iterdir()]
    best = max(jobs, key=lambda job: job["objective"]["value"])
    assert len(jobs) == 4
    assert found["best_value"] == best["objective"]["value"]
    assert f"++optim.lr={found['best_params']['++optim.lr']}" in best["overrides"]


def test_a_failed_job_is_a_failed_trial(mlfund: Command, tmp_path: Path) -> None:
    asked = ("task=regression", "data=diabetes", "model=linear", "optim=sgd", "schedule=null")
    asked += ("trainer.gradient_clip_val=null", "hydra.sweeper.n_trials=5", "optim.lr=0.01,1e30")
    told = mlfund("train", "-m", *SEARCH, *asked)
    assert told.code == 3, told.err
    (folder,) = (tmp_path / "runs" / "sweeps").iterdir()
    states = {json.loads(file.read_text())["status"] for file in (folder / "jobs").iterdir()}
    assert states == {"done", "failed"}
    found = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert found["best_params"] == {"++optim.lr": 0.01}
