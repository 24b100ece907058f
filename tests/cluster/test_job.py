"""Jobs of schedulers find their run folders again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lit_mlfund.cluster.job import JobRecord, is_restarted, job_name


@pytest.mark.parametrize(
    ("environment", "name", "restarted"),
    [
        ({}, None, False),
        ({"SLURM_JOB_ID": "17"}, "slurm--17", False),
        (
            {"SLURM_JOB_ID": "17", "SLURM_CLUSTER_NAME": "one", "SLURM_RESTART_COUNT": "2"},
            "slurm-one-17",
            True,
        ),
        (
            {"SLURM_JOB_ID": "18", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"},
            "slurm--17_3",
            False,
        ),
        ({"SLURM_JOB_ID": "17", "TORCHELASTIC_RUN_ID": "mine"}, "slurm--17", True),
        ({"TORCHELASTIC_RUN_ID": "mine"}, "torchrun-mine", True),
    ],
)
def test_name(
    environment: dict[str, str], name: str | None, restarted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in [key for key in os.environ if key.startswith(("SLURM", "TORCHELASTIC"))]:
        monkeypatch.delenv(key)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert (job_name(), is_restarted()) == (name, restarted)


def test_a_job_of_torchrun_without_a_name_has_that_of_its_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith("SLURM")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert str(job_name()).endswith(f"-{os.getppid()}")


def test_a_record_is_of_one_job_and_one_configuration(tmp_path: Path) -> None:
    folder, other = tmp_path / "run", tmp_path / "other"
    folder.mkdir()
    config = {"seed": 1, "data": {"path": "x"}}
    JobRecord(tmp_path, "slurm-one-17", config).remember(folder)
    assert JobRecord(tmp_path, "slurm-one-17", {"data": {"path": "x"}, "seed": 1}).folder() == folder
    assert JobRecord(tmp_path, "slurm-one-17", config | {"seed": 2}).folder() is None
    assert JobRecord(tmp_path, "slurm-one-18", config).folder() is None
    JobRecord(tmp_path, "../up/there", config).remember(folder)  # a name is no path
    assert not (tmp_path / "up").exists() and not (tmp_path.parent / "up").exists()
    JobRecord(tmp_path, "slurm-one-17", config).remember(other)
    assert JobRecord(tmp_path, "slurm-one-17", config).folder() is None  # it was deleted
