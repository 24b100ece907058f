"""Classes of other packages in one line each: models, losses, optimizers, loggers, data; and what is refused."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
import torch

from tests.system.conftest import Command

CODE = """
import torch
from lightning.pytorch import LightningDataModule
from torch import nn

class Net(nn.Module):
    def __init__(self, spec, width: int = 7, hidden: int = 3):
        super().__init__()
        features = spec.inputs["numeric"].shape[0]
        self.layers = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, 1))
    def forward(self, x):
        return self.layers(x["numeric"]).squeeze(-1)

class Unaware(nn.Module):
    "Knows nothing of a spec, and takes the dict."
    def __init__(self, width: int = 5):
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(width), nn.Tanh(), nn.Linear(width, 1))
    def forward(self, x):
        return self.layers(x["numeric"])

class Foreign(LightningDataModule):
    pass

def foreign():
    return Foreign()
"""
QUICK = ("task=binary", "data=breast_cancer", "trainer.max_epochs=2", "references=false", "logger=files")


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    (tmp_path / "mine_outside.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine_outside", None)


def weights(run: str) -> dict[str, torch.Tensor]:
    return torch.load(Path(run) / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("lines", "shapes"),
    [
        (["model._target_=mine_outside.Net"], {"model.layers.0.weight": (7, 30)}),
        (["model._target_=mine_outside.Net", "model.width=4"], {"model.layers.0.weight": (4, 30)}),
        (["model._target_=mine_outside.Unaware"], {"model.module.layers.0.weight": (5, 30)}),
        (
            ["model._target_=torch.nn.Linear", "model.in_features=30", "model.out_features=1"],
            {"model.module.weight": (1, 30)},
        ),
    ],
)
def test_a_model(mlfund: Command, lines: list[str], shapes: dict[str, tuple[int, ...]]) -> None:
    """Whatever keys the default model has: its `hidden: [128, 64]` is not the `hidden` of `Net`."""
    outcome = mlfund("train", *QUICK, *lines)
    assert outcome.code == 0, outcome.err
    state = weights(outcome.json["run"])
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    assert "hidden" not in (Path(outcome.json["run"]) / "run.yaml").read_text()
    run, test = f"run={outcome.json['run']}", outcome.json["test"]
    if "mine_outside" in lines[0]:
        del sys.modules["mine_outside"]
        told = mlfund("evaluate", run)
        assert told.code == 2 and told.err.strip().endswith("add --trust mine_outside"), told.err
        assert "mine_outside" not in sys.modules
    assert mlfund("evaluate", run, "--trust", "mine_outside").json["metrics"] == test


def test_a_loss_and_an_optimizer_of_torch(mlfund: Command) -> None:
    outcome = mlfund(
        "train",
        *QUICK,
        "loss._target_=torch.nn.BCEWithLogitsLoss",
        "optim._target_=torch.optim.SGD",
        "optim.lr=0.1",
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["objective"]["value"] > 0.8
    ours = mlfund("train", *QUICK, "loss=bce", "optim._target_=torch.optim.SGD", "optim.lr=0.1")
    theirs, own = weights(outcome.json["run"]), weights(ours.json["run"])
    assert all(torch.allclose(value, own[name], atol=1e-6) for name, value in theirs.items())


def test_loggers_of_lightning(mlfund: Command) -> None:
    outcome = mlfund("train", *QUICK, "logger.csv._target_=lightning.pytorch.loggers.CSVLogger")
    assert outcome.code == 0, outcome.err
    folder = Path(outcome.json["run"]) / "lightning_logs" / "version_0"
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert len([row for row in rows if row["val/auroc"]]) == 2
    assert [row["step"] for row in rows if row["train/loss"]] == ["13", "26"]
    assert "optim.lr: 0.001" in (folder / "hparams.yaml").read_text()
    measured = json.loads((Path(outcome.json["run"]) / "metrics.json").read_text())["history"]
    assert [float(row["val/auroc"]) for row in rows if row["val/auroc"]] == pytest.approx(
        [epoch["val/auroc"] for epoch in measured]
    )


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["model._target_=mine_outside.Net", "model.widht=3"], "model.widht: unknown; did you mean width?"),
        (
            ["model._target_=mine_outside.Net", "model.dropout=0.1"],
            "model.dropout: unknown; known: width, hidden",
        ),
        (
            ["data._target_=mine_outside.Foreign"],
            "mine_outside.Foreign is not a lit_mlfund.datamodules.DataModule",
        ),
        (["data._target_=mine_outside.foreign"], "has neither spec nor stores"),
        (["callbacks.own._target_=torch.nn.ReLU"], "torch.nn.ReLU is not a lightning.pytorch.Callback"),
        (["logger.own._target_=torch.nn.ReLU"], "torch.nn.ReLU is not a lightning.pytorch.loggers.Logger"),
        (
            ["logger.own._target_=lightning.pytorch.loggers.CSVLogger", "logger.own.nmae=x"],
            "did you mean name?",
        ),
        (
            ["loss._target_=torch.nn.BCEWithLogitsLoss", "regularization=mixup"],
            "loss: torch.nn.BCEWithLogitsLoss takes no weight in forward, but regularization=mixup weights rows",
        ),
    ],
)
def test_what_is_refused(mlfund: Command, tmp_path: Path, lines: list[str], problem: str) -> None:
    outcome = mlfund("train", *QUICK, *lines)
    assert outcome.code == 2 and problem in outcome.err, outcome.err
    assert not (tmp_path / "runs").exists() and "Traceback" not in outcome.err


def test_weights_of_the_data_need_a_loss_that_takes_them(mlfund: Command, table: Path) -> None:
    lines = ["train", "task=binary", "data=table", f"data.path={table}", "data.target=label", *QUICK[2:]]
    lines += ["data.exclude=[value,kind]", "loss._target_=torch.nn.BCEWithLogitsLoss"]
    assert mlfund(*lines).code == 0
    outcome = mlfund(*lines, "data.weight=noise")
    assert outcome.code == 2 and "takes no weight in forward, but data.weight weights rows" in outcome.err
