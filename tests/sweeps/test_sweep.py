"""Sweeps: checked as a whole before the first job, and no job loses the others."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution.run_folder import load_frozen
from lit_mlfund.startup.signals import REQUEST, Stopped
from lit_mlfund.sweeps.plan import Plan
from lit_mlfund.sweeps.sweep import Job, sweep
from tests.conftest import behave

Calls = list[tuple[Path, bool]]


def test_every_combination_is_a_run_of_its_own(
    house: Path, executed: Calls, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = sweep(["task=regression", "loss=mse,huber", "seed=0,1", "~data.time"], None)
    frozen = [load_frozen(folder) for folder, _ in executed]
    targets = [
        (run["loss"]["_target_"].rpartition(".")[2], run["seed"], run["data"]["seed"]) for run in frozen
    ]
    assert targets == [("MSE", 0, 0), ("MSE", 1, 1), ("Huber", 0, 0), ("Huber", 1, 1)]
    assert not any("time" in run["data"] for run in frozen)
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == results
    assert [result["job"] for result in results] == [0, 1, 2, 3]
    assert [result["run"] for result in results] == [str(folder) for folder, _ in executed]
    assert results[2]["overrides"] == ["task=regression", "loss=huber", "++seed=0"]
    (folder,) = Path("runs/sweeps").iterdir()
    assert sorted(file.name for file in folder.iterdir()) == [
        "jobs",
        "leases",
        "multirun.yaml",
        "sweep.json",
    ]
    assert json.loads((folder / "jobs" / "3.json").read_text()) == results[3]
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["runs"]  # nothing of Hydra's beside it


def test_all_combinations_are_checked_before_the_first_starts(house: Path, executed: Calls) -> None:
    with pytest.raises(ConfigError) as error:
        sweep(["loss=bce,mse", "optim.lr=0.1,high", "model.drop=3", "seed=0,-1"], None)
    assert error.value.problems == [
        "model.drop: unknown; did you mean dropout?",
        "seed: expected 0 … 4294967295, got -1"
        "  [loss=bce optim.lr=0.1 seed=-1; loss=bce optim.lr=high seed=-1; loss=mse optim.lr=0.1 seed=-1"
        " and 1 more]",
        "optim.lr: expected float, got high (text)"
        "  [loss=bce optim.lr=high seed=0; loss=bce optim.lr=high seed=-1; loss=mse optim.lr=high seed=0"
        " and 1 more]",
        "loss: MSE does not fit task=binary; use loss=bce or composite"
        "  [loss=mse optim.lr=0.1 seed=0; loss=mse optim.lr=0.1 seed=-1; loss=mse optim.lr=high seed=0"
        " and 1 more]",
    ]
    assert executed == []
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("line", ["loss=bce,bbce", "los=bce,mse", "optim.lr=1,2]", "loss=glob(zz*)"])
def test_mistakes_in_what_is_swept(house: Path, executed: Calls, line: str) -> None:
    with pytest.raises(ConfigError):
        sweep([line], None)
    assert executed == []
    assert list(Path.cwd().iterdir()) == []


def test_a_failing_job_does_not_lose_the_others(
    house: Path, executed: Calls, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def sometimes(run_dir: Path) -> dict[str, Any]:
        seed = load_frozen(run_dir)["seed"]
        if seed == 0:
            raise RuntimeError("a defect")
        if seed == 1:
            raise ConfigError("no column y")
        status = "failed" if seed == 2 else "done"
        return {"run": str(run_dir), "status": status, "objective": {"name": "val/auroc", "value": 0.5}}

    behave(sometimes)
    results = sweep(["seed=range(0,4)", "hydra.sweeper.max_batch_size=1"], None)
    assert [result["status"] for result in results] == ["failed", "failed", "failed", "done"]
    assert [result.get("reason") for result in results[:2]] == ["RuntimeError: a defect", "no column y"]
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 4
    assert shown.err.count("Traceback") == 1  # of the defect; wrong input needs none


def test_results_are_printed_as_they_come(
    house: Path, executed: Calls, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []

    def run(run_dir: Path) -> dict[str, Any]:
        printed.append(len(capsys.readouterr().out.splitlines()))
        return {"run": str(run_dir), "status": "done", "objective": None}

    behave(run)
    sweep(["seed=0,1,2"], None)
    assert printed == [0, 1, 1]


def test_a_preempted_job_stops_the_sweep(house: Path, executed: Calls, path: str) -> None:
    behave(lambda run_dir: {"run": str(run_dir), "status": "preempted", "objective": None})
    with pytest.raises(SystemExit) as stop:
        sweep(["seed=0,1"], None)
    assert stop.value.code == 143
    assert len(executed) == 1


def test_a_signal_behind_the_training_of_a_job_stops_the_sweep(
    house: Path, executed: Calls, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(run_dir: Path) -> dict[str, Any]:
        with REQUEST.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
        assert REQUEST.raised
        return {"run": str(run_dir), "status": "done", "objective": None}

    behave(run)
    previous = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR2)
    try:
        with pytest.raises(SystemExit) as stop:
            sweep(["seed=0,1"], None)
    finally:
        signal.signal(signal.SIGTERM, previous[0])
        signal.signal(signal.SIGUSR2, previous[1])
    assert stop.value.code == 143
    (folder,) = Path("runs/sweeps").iterdir()
    assert json.loads((folder / "jobs" / "0.json").read_text())["status"] == "done"
    assert len(executed) == 1


def test_parameters_of_a_file_are_swept_and_the_command_line_wins(
    house: Path, executed: Calls, path: str
) -> None:
    (house / "experiment" / "search.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n"
        "  sweeper: {params: {seed: '5,6', optim.lr: '0.1,0.2'}}\n"
    )
    sweep(["experiment=search", "optim.lr=0.3"], None)
    frozen = [load_frozen(folder) for folder, _ in executed]
    assert [(run["seed"], run["optim"]["lr"]) for run in frozen] == [(5, 0.3), (6, 0.3)]


def test_hydras_folder_can_be_chosen(house: Path, executed: Calls, path: str) -> None:
    results = sweep(["seed=0,1", "hydra.sweep.dir=mine"], None)
    assert [result["status"] for result in results] == ["done", "done"]
    assert sorted(file.name for file in Path("mine", "jobs").iterdir()) == ["0.json", "1.json"]


def test_values_that_a_sweeper_receives(
    house: Path, executed: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned = []
    monkeypatch.setattr(Plan, "is_in_process", False)
    call = Job.__call__
    monkeypatch.setattr(Job, "__call__", lambda job, config: returned.append(call(job, config)))
    values = iter([0.7, None, math.nan])
    behave(lambda run_dir: {"run": "", "status": "done", "objective": {"name": "x", "value": next(values)}})
    sweep(["seed=0,1,2"], None)
    assert returned[0] == 0.7
    assert math.isnan(returned[1])
    assert math.isnan(returned[2])


def test_a_sweep_under_torchrun_is_refused(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="leave out torchrun or srun"):
        sweep(["seed=0,1"], None)


def test_a_stop_that_another_error_hides_ends_the_sweep(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a signal arrives while a run folder is made, and the clean-up of a library fails."""
    called = []

    def run(*arguments: Any) -> dict[str, Any]:
        called.append(arguments)
        try:
            raise Stopped
        finally:
            raise OSError("cut short")

    monkeypatch.setattr("lit_mlfund.sweeps.job.run_config", run)
    with pytest.raises(Stopped):
        sweep(["task=regression", "seed=0,1"], None)
    assert len(called) == 1
