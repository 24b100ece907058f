"""Tests who executes a run, and how several processes share its folder."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution import launch, worker
from lit_mlfund.runs.execution import workers as worker_processes
from lit_mlfund.runs.execution.launch import num_workers
from lit_mlfund.runs.execution.workers import WorkerError, run_workers
from lit_mlfund.startup.environment import launcher_world

WORKER = """
    import json, os, sys, time
    from pathlib import Path
    run_dir = Path(sys.argv[1])
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    (run_dir / f"{rank}").write_text(json.dumps([world, os.environ["LOCAL_RANK"], sys.argv[2:]]))
    what = (run_dir / "what").read_text()
    if what == "wait":
        import signal
        asked = []
        signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
        (run_dir / f"ready{rank}").touch()
        while not asked:
            time.sleep(0.05)
    if what == "stop":
        import signal
        if rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(60)
    if what == "wrong":
        Path(os.environ["MLFUND_PROBLEMS_FILE"]).write_text(json.dumps(["no column y"]))
        sys.exit(2)
    if rank == 0 and what != "vanish":
        status = "preempted" if what == "wait" else "done"
        (run_dir / "result.json").write_text(json.dumps({"status": status}))
"""


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a run folder, and a module of workers that only report who they are."""
    (tmp_path / "reporting_worker.py").write_text(textwrap.dedent(WORKER))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    return run_dir


@pytest.mark.parametrize(
    ("environment", "world"),
    [
        ({}, None),
        ({"RANK": "1", "WORLD_SIZE": "4"}, (1, 4)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "4"}, None),  # what Lightning leaves behind
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"}, (3, 8)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a batch script before its srun
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),  # submitit: one task that starts its own
    ],
)
def test_outer_world(environment: dict[str, str], world: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM", "RANK", "WORLD", "LOCAL_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launcher_world() == world


def test_num_workers() -> None:
    assert num_workers({}) == 1
    assert num_workers({"devices": 3}) == 3
    assert num_workers({"devices": "2", "num_nodes": 1}) == 2
    assert num_workers({"devices": "auto", "accelerator": "cpu"}) == 1
    assert num_workers({"devices": "auto", "accelerator": "gpu"}) >= 1
    with pytest.raises(ConfigError, match=r"trainer.num_nodes: 2 machines need a launcher"):
        num_workers({"devices": 2, "num_nodes": 2})


def test_workers_know_their_own_rank_and_nothing_of_others(
    workers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "7", "LOCAL_RANK": "7", "WORLD_SIZE": "1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    (workers / "what").write_text("done")
    (workers / "result.json").write_text('{"status": "of an earlier attempt"}')
    assert run_workers(workers, 2, resume=True, module="reporting_worker") == {"status": "done"}
    assert (workers / "0").read_text() == '[2, "0", ["--resume"]]'
    assert (workers / "1").read_text() == '[2, "1", ["--resume"]]'


def test_what_workers_inherit(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "MASTER_ADDR": "x",
        "TORCHELASTIC_RUN_ID": "x",
        "GROUP_RANK": "0",
        "LOCAL_RANK": "0",
        "MINE": "kept",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert worker_processes._clean_environment().keys() & given.keys() == {"MINE"}


def test_wrong_input_is_reported_by_the_parent(workers: Path) -> None:
    (workers / "what").write_text("wrong")
    with pytest.raises(ConfigError, match="no column y"):
        run_workers(workers, 1, resume=False, module="reporting_worker")


def test_workers_without_a_result(workers: Path) -> None:
    (workers / "what").write_text("vanish")
    (workers / "result.json").write_text("{}")
    with pytest.raises(WorkerError, match=r"the 1 processes of .* ended with code 0 and without a result"):
        run_workers(workers, 1, resume=False, module="reporting_worker")


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_worker_that_is_stopped_ends_all(workers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_processes, "_PATIENCE", 2)
    (workers / "run.yaml").write_text("{}")
    (workers / "what").write_text("stop")
    with pytest.raises(WorkerError, match=r"^rank 1 of 2 is stopped; go on with: mlfund train run="):
        run_workers(workers, 2, resume=False, module="reporting_worker")


def test_a_signal_goes_on_to_the_workers(workers: Path) -> None:
    (workers / "what").write_text("wait")

    def stop() -> None:
        while not (workers / "ready0").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=stop).start()
    assert run_workers(workers, 1, resume=False, module="reporting_worker") == {"status": "preempted"}
    assert signal.getsignal(signal.SIGTERM) == before


def test_alone_the_run_is_executed_here(
    house: Path, executed: list[tuple[Path, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.yaml").write_text("trainer: {devices: 1}")
    launch.launch(tmp_path, resume=True)
    assert executed == [(tmp_path, True)]
    started: list[int] = []
    monkeypatch.setattr(
        launch, "run_workers", lambda run_dir, workers, resume, lock: started.append(workers) or {}
    )
    (tmp_path / "run.yaml").write_text("trainer: {devices: 3}")
    launch.launch(tmp_path, resume=False)
    assert started == [3]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    launch.launch(tmp_path, resume=False)  # somebody else has started us
    assert started == [3]
    assert len(executed) == 2


def test_a_worker_tells_what_is_wrong(
    house: Path, executed: list[tuple[Path, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run_dir: Path) -> dict[str, Any]:
        raise ConfigError("hidden: expected numbers from 1 on, got 0")

    sys.modules["lit_mlfund.runs.execution.execute"].behave(refuse)  # type: ignore[attr-defined]
    monkeypatch.setenv(worker_processes.PROBLEMS_FILE, str(tmp_path / "problems.json"))
    (tmp_path / "run").mkdir()
    assert worker.main([str(tmp_path / "run"), "--resume"]) == 2
    assert executed == [(tmp_path / "run", True)]
    assert json.loads((tmp_path / "problems.json").read_text()) == [
        "hidden: expected numbers from 1 on, got 0"
    ]
