"""The same command again: what is done stays; what is missing, failed or interrupted runs, in one process or more."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution.run_folder import load_frozen
from lit_mlfund.startup.signals import Stopped
from lit_mlfund.sweeps.dry_run import dry_run
from lit_mlfund.sweeps.lease import STALE, Holder, create
from lit_mlfund.sweeps.sweep import sweep
from lit_mlfund.sweeps.sweep_folder import SweepFolder
from tests.conftest import behave

Calls = list[tuple[Path, bool]]
SEEDS = ["seed=0,1,2", "optim.lr=0.1"]


def ended(run_dir: Path, status: str = "done", value: float = 0.5) -> dict[str, Any]:
    result = {"run": str(run_dir), "status": status, "objective": {"name": "val/auroc", "value": value}}
    (run_dir / "result.json").write_text(json.dumps(result))
    return result


def seed(run_dir: Path) -> int:
    return int(load_frozen(run_dir)["seed"])


def only_sweep() -> Path:
    (folder,) = Path("runs/sweeps").iterdir()
    return folder


def test_nothing_runs_twice(
    house: Path, executed: Calls, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sweep(SEEDS, None)
    assert "if it is interrupted, the same command goes on" in capsys.readouterr().err
    assert sweep(SEEDS, None) == first
    shown = capsys.readouterr()
    assert "is of the same command and goes on: 3 of 3 jobs are done (--fresh runs all anew)" in shown.err
    assert [json.loads(line) for line in shown.out.splitlines()] == first
    assert len(executed) == 3
    assert (
        only_sweep().name == f"binary-{json.loads((only_sweep() / 'sweep.json').read_text())['digest'][:10]}"
    )


def test_fresh_runs_all_in_a_new_folder(house: Path, executed: Calls) -> None:
    first, second = sweep(SEEDS, None), sweep(SEEDS, None, fresh=True)
    assert len({result["run"] for result in first + second}) == 6
    assert sweep(SEEDS, None) == second  # of two, the later one goes on
    assert len(executed) == 6
    assert len(list(Path("runs/sweeps").iterdir())) == 2


def test_another_configuration_is_another_sweep(house: Path, executed: Calls) -> None:
    sweep(SEEDS, None)
    sweep(["seed=0,1,2", "optim.lr=0.2"], None)
    sweep(["seed=0,1", "optim.lr=0.1"], None)
    assert len(executed) == 3 + 3 + 2
    assert len(list(Path("runs/sweeps").iterdir())) == 3


def test_a_failed_job_runs_again_in_a_new_folder(house: Path, executed: Calls, path: str) -> None:
    behave(lambda run_dir: ended(run_dir, "failed" if seed(run_dir) == 1 else "done"))
    before = sweep(SEEDS, None)
    behave(ended)
    after = sweep(SEEDS, None)
    assert [result["status"] for result in before] == ["done", "failed", "done"]
    assert [result["status"] for result in after] == ["done", "done", "done"]
    assert after[1]["run"] == f"{before[1]['run']}-2"
    assert [seed(folder) for folder, _ in executed] == [0, 1, 2, 1]
    assert [resume for _, resume in executed] == [False] * 4


def test_wrong_input_in_a_job_is_tried_again(house: Path, executed: Calls) -> None:
    def refuse(run_dir: Path) -> dict[str, Any]:
        raise ConfigError("no column y")

    behave(refuse)
    assert {result["status"] for result in sweep(SEEDS, None)} == {"failed"}
    behave(ended)
    assert {result["status"] for result in sweep(SEEDS, None)} == {"done"}
    assert len(executed) == 6


def test_an_interrupted_job_goes_on_in_its_folder(house: Path, executed: Calls, path: str) -> None:
    behave(lambda run_dir: ended(run_dir, "preempted" if seed(run_dir) == 1 else "done"))
    with pytest.raises(Stopped) as stop:
        sweep(SEEDS, None, ["mlfund", "train", "-m", "--fresh", *SEEDS])
    assert str(stop.value).endswith(
        "; 1 of 3 jobs of the sweep are done; go on with: mlfund train -m seed=0,1,2 optim.lr=0.1"
    )
    behave(ended)
    results = sweep(SEEDS, None)
    assert [result["status"] for result in results] == ["done"] * 3
    assert [(seed(folder), resume) for folder, resume in executed] == [
        (0, False),
        (1, False),
        (1, True),
        (2, False),
    ]
    assert executed[1][0] == executed[2][0]


def test_a_job_that_was_killed_goes_on(house: Path, executed: Calls, path: str) -> None:
    """Neither a result of the job nor one of the run is there."""
    results = sweep(SEEDS, None)
    run = Path(results[1]["run"])
    (run / "result.json").unlink()
    (only_sweep() / "jobs" / "1.json").unlink()
    (only_sweep() / "jobs" / ".1.0a1b2c3d.json").write_text("{")  # was being written
    assert sweep(SEEDS, None) == results
    assert executed[3:] == [(run, True)]
    assert list(only_sweep().rglob(".*")) == []


def test_a_run_that_ended_before_its_job_was_recorded_is_not_run_again(house: Path, executed: Calls) -> None:
    behave(ended)
    results = sweep(SEEDS, None)
    (only_sweep() / "jobs" / "1.json").unlink()
    assert sweep(SEEDS, None) == results
    assert len(executed) == 3


def test_a_run_whose_folder_is_gone_runs_again(house: Path, executed: Calls) -> None:
    results = sweep(SEEDS, None)
    shutil.rmtree(results[2]["run"])
    assert sweep(SEEDS, None) == results
    assert [seed(folder) for folder, _ in executed] == [0, 1, 2, 2]


def test_a_run_resumed_by_hand_is_done(house: Path, executed: Calls) -> None:
    behave(lambda run_dir: ended(run_dir, "preempted" if seed(run_dir) == 1 else "done"))
    with pytest.raises(Stopped):
        sweep(SEEDS, None)
    ended(executed[1][0])
    behave(ended)
    assert {result["status"] for result in sweep(SEEDS, None)} == {"done"}
    assert [seed(folder) for folder, _ in executed] == [0, 1, 2]


def test_two_processes_share_the_jobs(house: Path, executed: Calls) -> None:
    """Each takes what the other is not at, waits for it, and returns all results."""

    def slow(run_dir: Path) -> dict[str, Any]:
        with open("executed.txt", "a") as file:
            file.write(f"{run_dir.name} {os.getpid()}\n")
        for _ in range(100):  # until both are at work, on a machine of any load
            if len({line.split()[1] for line in Path("executed.txt").read_text().splitlines()}) == 2:
                break
            time.sleep(0.1)
        return ended(run_dir)

    behave(slow)
    lines = ["seed=range(0,6)"]
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            try:
                good = [result["status"] for result in sweep(lines, None)] == ["done"] * 6
                os._exit(0 if good else 1)
            except BaseException:
                traceback.print_exc()  # shown by pytest where the test fails
                os._exit(2)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    runs, processes = zip(*(line.split() for line in Path("executed.txt").read_text().splitlines()))
    assert len(runs) == len(set(runs)) == 6
    assert set(processes) == {str(child) for child in children}
    assert len(list(Path("runs/binary").iterdir())) == 6


def test_the_job_of_a_killed_process_is_taken_over(house: Path, executed: Calls) -> None:
    def die(run_dir: Path) -> dict[str, Any]:
        if seed(run_dir) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return ended(run_dir)

    behave(die)
    child = os.fork()
    if child == 0:
        sweep(SEEDS, None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    behave(ended)
    assert {result["status"] for result in sweep(SEEDS, None)} == {"done"}
    assert [(seed(folder), resume) for folder, resume in executed] == [(1, True), (2, False)]


def test_a_job_of_another_machine_is_waited_for_until_it_is_stale(
    house: Path,
    executed: Calls,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = sweep(SEEDS, None)
    (only_sweep() / "jobs" / "1.json").unlink()
    Path(results[1]["run"], "result.json").unlink()
    file = only_sweep() / "leases" / "1.2"
    assert create(file, asdict(Holder("elsewhere", 7, "another boot", "1")))

    waited = []

    def sleep(seconds: float) -> None:
        """Wait two times; then the other machine has been silent for long."""
        waited.append(len(executed))
        if len(waited) == 2:
            os.utime(file, (0, file.stat().st_mtime - STALE - 60))

    monkeypatch.setattr(time, "sleep", sleep)
    assert sweep(SEEDS, None) == results
    assert waited == [3, 3]
    assert len(executed) == 4
    if path == "here":
        assert "waiting for jobs at work elsewhere: 1 (process 7 on elsewhere)" in capsys.readouterr().err


def test_the_folder_of_another_command_is_refused(house: Path, executed: Calls) -> None:
    mine = "hydra.sweep.dir=mine"
    results = sweep([*SEEDS, mine], None, ["mlfund", "train", "-m", *SEEDS])
    assert sweep([*SEEDS, mine], None) == results
    with pytest.raises(
        ConfigError, match=r"mine holds the sweep of another command: mlfund train -m seed=0,1,2"
    ):
        sweep(["seed=0,1", mine], None)
    with pytest.raises(ConfigError, match=r"--fresh: .*mine holds this sweep; name another"):
        sweep([*SEEDS, mine], None, fresh=True)
    Path("mine/sweep.json").unlink()
    with pytest.raises(ConfigError, match="mine holds the sweep of another command; name another folder"):
        sweep([*SEEDS, mine], None)
    assert len(executed) == 3


def test_a_dry_run_tells_and_writes_nothing(
    house: Path, executed: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    told = dry_run(SEEDS, None)
    assert (told["jobs"], told["done"], told["left"], told["seconds"]) == (3, 0, 3, None)
    assert list(Path.cwd().iterdir()) == []

    def stop(run_dir: Path) -> dict[str, Any]:
        return ended(run_dir, "preempted" if seed(run_dir) == 2 else "done") | {
            "seconds": 2.0 + seed(run_dir)
        }

    behave(stop)
    with pytest.raises(Stopped):
        sweep(SEEDS, None)
    capsys.readouterr()
    before = sorted(Path.cwd().rglob("*"))
    told = dry_run(SEEDS, None)
    assert told | {"sweep": ""} == {"sweep": "", "jobs": 3, "done": 2, "failed": 0, "left": 1, "seconds": 2.5}
    table = capsys.readouterr().err
    assert "about 2 s for the 1 jobs left" in table
    assert re.findall(r"^(\d) +(\w+) .* (\d)$", table, re.MULTILINE) == [
        ("0", "done", "0"),
        ("1", "done", "1"),
        ("2", "preempted", "2"),
    ]
    assert dry_run(SEEDS, None, fresh=True)["left"] == 3
    assert sorted(Path.cwd().rglob("*")) == before


def test_what_another_process_is_writing_stays(house: Path, executed: Calls) -> None:
    """Between two leases, too, of which a process that works in the folder may have none."""
    sweep(SEEDS, None)
    place = SweepFolder(only_sweep(), "mine", "0")
    unfinished = only_sweep() / "leases" / ".0.2.0a1b2c3d"
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            place.begin()
            os.write(write, b"x")
            time.sleep(60)
        finally:
            os._exit(1)
    assert os.read(read, 1) == b"x"
    unfinished.write_text("{")
    sweep(SEEDS, None)
    assert unfinished.exists()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    sweep(SEEDS, None)
    assert not unfinished.exists()
