"""A user's code that raises in mid-training, and a folder that somebody deletes: what is kept, said and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.system.conftest import Command, Outcome

FAST = ("data=breast_cancer", "references=false", "logger=tensorboard", "trainer.max_epochs=3")
CODE = """
import os, shutil
from pathlib import Path
import torch
from lightning.pytorch import Callback
from lit_mlfund.losses import BinaryCrossEntropyLoss
from lit_mlfund.datamodules import BreastCancerDataModule

class At:
    calls = 0
    def reach(self):
        if torch.is_grad_enabled():
            self.calls += 1
            if self.calls == int(os.environ.get("BREAK_AT", "0")):
                kind = {"ValueError": ValueError, "KeyError": KeyError, "RuntimeError": RuntimeError}
                raise kind[os.environ["BREAK_WITH"]]("no such bucket")

class Breaks(At, BinaryCrossEntropyLoss):
    def forward(self, *arguments, **options):
        self.reach()
        return super().forward(*arguments, **options)

class Model(At, torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(30, 1)
    def forward(self, x):
        self.reach()
        return self.layer(x)

class Data(At, BreastCancerDataModule):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        self.reach()
        return batch

class Deletes(Callback):
    many_steps = True
    def on_train_epoch_end(self, trainer, module):
        shutil.rmtree(trainer.default_root_dir)
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the user's in the working folder."""
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("breaking", None)
    (tmp_path / "breaking.py").write_text(CODE)
    return tmp_path


def folders() -> list[Path]:
    return [file.parent for file in Path("runs").glob("*/*/run.yaml")]


def ended(outcome: Outcome, code: int) -> str:
    """The line for the user."""
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("mlfund: ")]
    return line


@pytest.mark.parametrize(
    ("override", "kind", "at", "saved"),
    [
        ("loss._target_=breaking.Breaks", "ValueError", 5, False),
        ("model._target_=breaking.Model", "KeyError", 20, True),
        ("data._target_=breaking.Data", "ValueError", 5, True),
    ],
)
def test_code_that_raises_in_mid_training(
    mlfund: Command,
    code: Path,
    monkeypatch: pytest.MonkeyPatch,
    override: str,
    kind: str,
    at: int,
    saved: bool,
) -> None:
    whole = mlfund("train", *FAST, override)
    assert whole.code == 0, whole.err
    monkeypatch.setenv("BREAK_WITH", kind)
    monkeypatch.setenv("BREAK_AT", str(at))
    outcome = mlfund("train", *FAST, override)
    line = ended(outcome, 1)
    run = Path(outcome.json["run"])
    assert outcome.json["status"] == "crashed"
    assert json.loads((run / "result.json").read_text()) == outcome.json
    message = "'no such bucket'" if kind == "KeyError" else "no such bucket"
    assert line.startswith(f"mlfund: crashed: {kind}: {message} (at step ")
    on = "continues from the last checkpoint" if saved else "starts it again"
    assert line.endswith(f"where, is in {run / 'error.txt'}); `mlfund train run={run} --trust breaking` {on}")
    assert "in reach" in (run / "error.txt").read_text()
    monkeypatch.setenv("BREAK_AT", "0")
    resumed = mlfund("train", f"run={run}", "--trust", "breaking")
    assert resumed.code == 0, resumed.err
    assert resumed.json["run"] == str(run) and resumed.json["test"] == whole.json["test"]
    assert not (run / "error.txt").exists()
    for name in ("best.ckpt", "last.ckpt"):
        weights, expected = (
            torch.load(Path(folder) / "checkpoints" / name)["state_dict"]
            for folder in (run, whole.json["run"])
        )
        assert all(torch.equal(weights[key], value) for key, value in expected.items())


def test_a_loss_that_refuses_its_first_batch_is_wrong_input(
    mlfund: Command, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREAK_AT", "1")
    monkeypatch.setenv("BREAK_WITH", "ValueError")
    assert ended(mlfund("train", *FAST, "loss._target_=breaking.Breaks"), 2) == "mlfund: no such bucket"
    assert not Path("runs").exists()
    monkeypatch.setenv("BREAK_WITH", "RuntimeError")
    assert "RuntimeError: no such bucket (at step 0" in ended(
        mlfund("train", *FAST, "loss._target_=breaking.Breaks"), 1
    )
    assert len(folders()) == 1


def test_a_rank_that_raises(code: Path) -> None:
    """Two processes: one record, one line of ours, and the run can be resumed."""
    words = [
        sys.executable,
        "-m",
        "lit_mlfund",
        "train",
        *FAST,
        "loss._target_=breaking.Breaks",
        "trainer.devices=2",
    ]
    environment = {
        **os.environ,
        "BREAK_AT": "4",
        "BREAK_WITH": "ValueError",
        "PYTHONPATH": f"{code}:{os.environ.get('PYTHONPATH', '')}",
    }
    done = subprocess.run(words, capture_output=True, text=True, cwd=code, env=environment, timeout=300)
    assert done.returncode == 1, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert result["status"] == "crashed" and result["reason"].startswith(
        (
            "rank 0 of 2: ValueError: no such bucket (at step ",
            "rank 1 of 2: ValueError: no such bucket (at step ",
        )
    )
    assert done.stderr.count("mlfund: ") == 1


def test_a_folder_that_is_deleted_in_mid_run(mlfund: Command, code: Path) -> None:
    outcome = mlfund("train", *FAST, "+callbacks.deletes._target_=breaking.Deletes")
    line = ended(outcome, 2)
    assert "was deleted while the run was at work in it; the run has stopped" in line
    assert not Path("runs").exists() or list(Path("runs").rglob("*")) == []
