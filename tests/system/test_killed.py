"""A run killed in mid-training, by the scheduler's signal or by the kernel, and resumed in a new process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

OPTIONS = (
    "task=multiclass", "data=digits", "trainer.max_epochs=4", "data.batch_size=16", "references=false", "logger=none",
)  # fmt: skip


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lit_mlfund", "train", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> Path:
    for _ in range(1200):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{pattern} did not appear")


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The run that nobody disturbs."""
    return finish(start(tmp_path_factory.mktemp("whole"), *OPTIONS))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_resumed_to_the_same_weights(tmp_path: Path, whole: dict[str, Any], number: signal.Signals) -> None:
    process = start(tmp_path, *OPTIONS)
    last = wait_for(tmp_path, "runs/*/*/checkpoints/last.ckpt", process)
    run = last.parent.parent
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    if number == signal.SIGTERM:
        assert process.returncode == 143, err
        assert json.loads(out.strip().splitlines()[-1])["status"] == "preempted"

    result = finish(start(tmp_path, f"run={run}"))
    assert result["run"] == str(run) and result["status"] == "done"
    weights, expected = (
        torch.load(Path(folder) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (run, whole["run"])
    )
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert result["test"] == whole["test"]
