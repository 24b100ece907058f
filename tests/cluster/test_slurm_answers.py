"""What follows from the variables and the answers of Slurm, with a `scontrol` that answers from a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lit_mlfund.cluster import slurm
from lit_mlfund.cluster.requeue import requeue
from lit_mlfund.startup.signals import REQUEST

JOB = "JobId=17 JobName=mine {} Requeue={} Restarts=0 BatchFlag={} Reboot=0 ExitCode=0:0"


@pytest.fixture(autouse=True)
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Answers `scontrol ARGUMENTS` with the file of that name, and notes every call in `calls`."""
    for key in [key for key in os.environ if key.startswith(("SLURM", "MASTER", "RANK", "SUBMITIT"))]:
        monkeypatch.delenv(key)
    program = tmp_path / "scontrol"
    program.write_text(
        f'#!/bin/sh\ncd {tmp_path}\necho "$*" >> calls\ncat "$*" 2>/dev/null || {{ echo no such thing >&2; exit 1; }}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(REQUEST, "is_deferred", False)
    return tmp_path


def test_address_of_the_first_node(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-2]")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "n[07-09,12],m1")
    assert slurm.first_address() == "n07"  # without an answer, the name
    (scontrol / "show hostnames n[07-09,12],m1").write_text("n07\nn08\nn09\nn12\nm1\n")
    assert slurm.first_address() == "n07"
    (scontrol / "show node n07").write_text(
        "NodeName=n07 Arch=x86_64\n   NodeAddr=10.1.2.3 NodeHostName=n07\n"
    )
    assert slurm.first_address() == "10.1.2.3"
    monkeypatch.setenv("MASTER_ADDR", "given")
    assert slurm.first_address() == "given"


def test_address_without_scontrol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for nodes, first in {"n3": "n3", "n[3-5,7],m1": "n3", "m1,n[3-5]": "m1", "": "127.0.0.1"}.items():
        monkeypatch.setenv("SLURM_JOB_NODELIST", nodes)
        assert slurm.first_address() == first


@pytest.mark.parametrize(
    ("tasks", "node", "local"), [("2(x2)", 1, "2"), ("3,1", 0, "3"), ("3,1", 1, "1"), ("2(x2),1", 2, "1")]
)
def test_environment_of_torchrun(tasks: str, node: int, local: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PROCID": "3", "LOCALID": "1", "NODEID": str(node), "STEP_NUM_TASKS": "4", "STEP_TASKS_PER_NODE": tasks,
        "JOB_ID": "17", "STEP_ID": "0",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert slurm.torchrun_environment() == {
        "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": local, "GROUP_RANK": str(node),
        "TORCHELASTIC_RUN_ID": "0-17-0-0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "requeues", "batch", "reason"),
    [
        ("JobState=RUNNING Reason=None", 1, 1, None),
        ("JobState=COMPLETING Reason=TimeLimit", 1, 1, None),
        ("JobState=COMPLETING Reason=None", 1, 1, "it is completing"),  # scancel
        ("JobState=PENDING Reason=BeginTime", 1, 1, "it is pending"),  # Slurm has requeued it
        ("JobState=RUNNING Reason=None", 0, 1, "requeue is off (sbatch --requeue)"),
        ("JobState=RUNNING Reason=None", 1, 0, "it was not submitted by sbatch"),
    ],
)
def test_which_jobs_are_requeued(
    state: str,
    requeues: int,
    batch: int,
    reason: str | None,
    scontrol: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    (scontrol / "show job --oneliner 17").write_text(JOB.format(state, requeues, batch))
    (scontrol / "requeue 17").touch()
    requeue()
    asked = (scontrol / "calls").read_text().splitlines()
    told = capsys.readouterr().err
    if reason is None:
        assert asked[1:] == ["requeue 17"]
        assert told == "mlfund: job 17 is requeued, and goes on where it was\n"
    else:
        assert asked[1:] == []
        assert told == f"mlfund: job 17 is not requeued: {reason}\n"


def test_nobody_else_requeues(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requeue()  # outside of a job
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    requeue()  # submitit does
    monkeypatch.delenv("SUBMITIT_EXECUTOR")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    requeue()  # rank 0 does
    assert not (scontrol / "calls").exists()


def test_a_refusal_of_slurm_is_told(
    scontrol: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    requeue()
    assert capsys.readouterr().err == "mlfund: job 17 is not requeued: no such thing\n"
