"""A few kills of real runs, as `make test-faults` does many; and that the harness notices what it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.faults import comparison

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("cases", "every"),
    [("lean", "24"), pytest.param("grid,stack,search", "60", marks=pytest.mark.slow)],
)
def test_killed_at_operations_and_moments(cases: str, every: str) -> None:
    """In a process of its own: a fork has none of the threads that other tests have started."""
    options = ["--seed", "3", "--count", "2", "--cases", cases, "--every", every]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faults", *options],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    kills, words = ended.stdout.splitlines()[-1].split(" kills, ")
    assert int(kills) >= 4 and words.startswith("0 with differences or debris")


def test_differences_and_debris_are_seen(tmp_path: Path) -> None:
    one, other = (make_run(tmp_path / name, number) for number, name in enumerate(("one", "other")))

    def seen() -> list[str]:
        debris = comparison.debris(tmp_path / "one", one, tmp_path / "other", other)
        return [line.partition(": ")[0] for line in [*comparison.differences(one, other), *debris]]

    assert seen() == []
    weights = {"w": torch.tensor([0.0, 1e-30])}
    torch.save({"state_dict": weights, "callbacks": {"Progress": {}}}, one / "checkpoints" / "last.ckpt")
    (one / "metrics.json").write_text(json.dumps({"history": [{"val/loss": 0.6}], "seconds": 2}))
    (one / "predictions" / "test.parquet").write_bytes(b"else")
    (one / "checkpoints" / ".last.0123abcd.ckpt").touch()
    (tmp_path / "one" / "left").touch()
    assert seen() == [
        "last.ckpt.state_dict.w", "last.ckpt.Progress.epoch_seconds on one side only",
        "metrics.json.history.0.val/loss", "predictions/test.parquet", "too much", "too much",
    ]  # fmt: skip


def make_run(folder: Path, number: int) -> Path:
    run = folder / "runs" / "binary" / f"run{number}"
    for part in ("checkpoints", "predictions"):
        (run / part).mkdir(parents=True)
    state = {"state_dict": {"w": torch.zeros(2)}, "callbacks": {"Progress": {"epoch_seconds": number}}}
    for name in ("best.ckpt", "last.ckpt"):
        torch.save(state, run / "checkpoints" / name)
    (run / "result.json").write_text(json.dumps({"status": "done", "seconds": number}))
    (run / "metrics.json").write_text(json.dumps({"history": [{"val/loss": 0.5}], "seconds": number}))
    (run / "findings.json").write_text("[]")
    (run / "predictions" / "test.parquet").write_bytes(b"same")
    return run
