"""A job of Slurm that is started again goes on in its folder, with a `scontrol` that notes calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
RUN = (
    "train", "task=multiclass", "data=digits", "data.batch_size=64", "model=linear", "trainer.max_epochs=2",
    "references=false", "logger=none", "test=false", "doctor=none",
)  # fmt: skip


def run(folder: Path, restarts: int, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environment |= {
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{folder}:/usr/bin:/bin",
    }
    environment |= {"SLURM_JOB_ID": "17"} | ({"SLURM_RESTART_COUNT": str(restarts)} if restarts else {})
    return subprocess.run(
        [sys.executable, "-m", "lit_mlfund", *RUN, *more],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def weights(result: dict[str, str]) -> dict[str, torch.Tensor]:
    return torch.load(Path(result["run"]) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_once_more_and_a_third_time(tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text(
        '#!/bin/sh\necho "$*" >> calls\n[ "$1" = requeue ] || echo "JobState=RUNNING Requeue=1 BatchFlag=1"\n'
    )
    (tmp_path / "scontrol").chmod(0o755)
    (tmp_path / "mine.py").write_text(
        "import os, signal\nfrom lightning.pytorch import Callback\n"
        "class Signalled(Callback):\n"
        "    def on_train_batch_end(self, trainer, *_):\n"
        "        if trainer.global_step == 7:\n"
        "            os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    signalled = "+callbacks.signalled._target_=mine.Signalled"
    stopped = run(tmp_path, 0, signalled)
    assert stopped.returncode == 143, stopped.stderr
    assert stopped.stderr.splitlines()[-1] == "mlfund: job 17 is requeued, and goes on where it was"
    assert (tmp_path / "calls").read_text().splitlines() == ["show job --oneliner 17", "requeue 17"]
    done = run(tmp_path, 1, signalled)
    assert done.returncode == 0, done.stderr
    told = [json.loads(process.stdout.splitlines()[-1]) for process in (stopped, done)]
    assert [result["status"] for result in told] == ["preempted", "done"]
    assert told[0]["run"] == told[1]["run"]
    again = run(tmp_path, 2, signalled)  # it had ended already
    assert json.loads(again.stdout.splitlines()[-1]) == told[1]
    other = run(tmp_path, 2)  # the next command of the same script
    assert json.loads(other.stdout.splitlines()[-1])["run"] != told[1]["run"]
    expected = weights(json.loads(other.stdout.splitlines()[-1]))
    assert all(torch.equal(weights(told[1])[name], value) for name, value in expected.items())


@pytest.mark.slow
def test_a_first_start_is_a_new_run(tmp_path: Path) -> None:
    """Two commands in one allocation are two runs; only a job that was requeued goes on."""
    one, two = run(tmp_path, 0), run(tmp_path, 0)
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert len(list(tmp_path.glob("runs/multiclass/2*"))) == 2
