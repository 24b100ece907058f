"""Runs on a GPU: every task in mixed precision, the compiler, checkpoints that change devices, resume to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_mlfund.data.serving import placement
from tests.system.conftest import Command
from tests.system.test_killed import finish, start, wait_for

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]

QUIET = ("references=false", "logger=none")
# without dropout, whose masks differ between devices and under the compiler
EXACT = (*QUIET, "model.dropout=0", "trainer=gpu", "trainer.precision=32-true", "trainer.deterministic=true")
# data, model and epochs of each task, and a value of its metric that only a model that has learned reaches
LEARNED: dict[str, tuple[list[str], str, float]] = {
    "binary": (["data=breast_cancer"], "auroc", 0.97),
    "multiclass": (["data=digits", "model=cnn", "trainer.max_epochs=5"], "accuracy", 0.85),
    "regression": (["data=diabetes"], "r2", 0.2),
    "ranking": (["data=letor", "data.path=lists.txt", "trainer.max_epochs=20"], "ndcg@10", 0.9),
    "retrieval": (
        ["data=interactions", "data.path=interactions.csv", "data.user=user", "data.item=item", "data.time=time",
         "trainer.max_epochs=20"], "recall@10", 0.5,
    ),
}  # fmt: skip


def checkpoint(run: str, name: str = "last") -> dict[str, Any]:
    return torch.load(Path(run) / "checkpoints" / f"{name}.ckpt", weights_only=True, map_location="cpu")  # fmt: skip


def assert_equal_weights(first: str, second: str) -> None:
    one, other = (checkpoint(run)["state_dict"] for run in (first, second))
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


@pytest.fixture(autouse=True)
def reproducible(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let cuBLAS sum in one order, as `trainer.deterministic=true` asks for."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("task", LEARNED)
def test_a_task_learns_in_mixed_precision(
    mlfund: Command, letor: Path, interactions: Path, task: str
) -> None:
    options, metric, least = LEARNED[task]
    outcome = mlfund("train", f"task={task}", *options, "trainer=gpu", *QUIET)
    assert outcome.code == 0, outcome.err
    assert outcome.json["test"][metric]["value"] >= least


def test_a_language_model_learns_in_mixed_precision(mlfund: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 800)
    outcome = mlfund(
        "train",
        "task=multiclass",
        "data=text_lm",
        "data.path=text.txt",
        "trainer=gpu",
        "trainer.max_epochs=4",
        *QUIET,
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["test"]["bits_per_character"]["value"] < 1


@pytest.mark.parametrize("data", [["data=breast_cancer"], ["data=breast_cancer", "model=dlrm"]])
def test_float32_gives_the_metrics_of_the_cpu(mlfund: Command, data: list[str]) -> None:
    both = [
        mlfund("train", "task=binary", *data, *EXACT, f"trainer.accelerator={accelerator}").json
        for accelerator in ("gpu", "cpu")
    ]
    for metric in ("log_loss", "auroc"):
        gpu, cpu = (result["test"][metric]["value"] for result in both)
        assert gpu == pytest.approx(cpu, rel=2e-3)


def test_the_compiler_changes_no_metric(mlfund: Command) -> None:
    both = [
        mlfund("train", "task=multiclass", "data=digits", *EXACT[:-1], f"trainer.compile={value}").json
        for value in ("false", "true")
    ]
    plain, compiled = (result["test"]["log_loss"]["value"] for result in both)
    assert compiled == pytest.approx(plain, rel=1e-2)


def test_a_run_of_the_gpu_is_evaluated_without_it(mlfund: Command, tmp_path: Path) -> None:
    trained = mlfund("train", "task=multiclass", "data=digits", *EXACT)
    run = trained.json["run"]
    assert all(value.device.type == "cpu" for value in checkpoint(run, "best")["state_dict"].values())
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # a machine without a GPU
    command = [sys.executable, "-m", "lit_mlfund", "evaluate", f"run={run}"]
    out = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    measured = json.loads(out.strip().splitlines()[-1])
    for metric, found in trained.json["test"].items():
        assert measured["metrics"][metric]["value"] == pytest.approx(found["value"], abs=1e-4), metric


def test_killed_and_resumed(tmp_path: Path) -> None:
    options = ["task=multiclass", "data=digits", "trainer.max_epochs=40", "data.batch_size=16", *EXACT]
    whole = finish(start(tmp_path, *options, "runs_dir=whole"))
    process = start(tmp_path, *options, "runs_dir=runs")
    run = wait_for(tmp_path, "runs/**/checkpoints/last.ckpt", process).parent.parent
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 143
    result = finish(start(tmp_path, f"run={run}"))
    assert result["status"] == "done"
    assert_equal_weights(result["run"], whole["run"])
    assert result["test"] == whole["test"]


def test_data_held_on_the_device_trains_the_same_weights(
    mlfund: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("task=multiclass", "data=digits", "trainer.max_epochs=3", *EXACT)
    held = mlfund("train", *options)
    monkeypatch.setattr(placement, "HELD_SHARE", 0.0)
    copied = mlfund("train", *options)
    assert_equal_weights(held.json["run"], copied.json["run"])
    assert json.loads((Path(held.json["run"]) / "result.json").read_text())["status"] == "done"
