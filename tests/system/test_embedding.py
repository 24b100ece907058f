"""How tables are trained, by the command: sparse, in shards, and what is told where TorchRec is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from tests.system.conftest import Command

TABLE = "model.encoders.categorical.table.weight"
MISSING = importlib.util.find_spec("torchrec") is None


def arguments(table: Path, *more: str) -> list[str]:
    return [
        "train", "task=binary", "model=dlrm", "data=table", f"data.path={table}", "data.target=label",
        "data.exclude=[value,kind]", "references=false", "logger=none", "trainer.max_epochs=2", *more,
    ]  # fmt: skip


def check(mlfund: Command, command: list[str]) -> None:
    """It trains, its checkpoint is plain, and it is served as any other."""
    outcome = mlfund(*command)
    assert outcome.code == 0, outcome.err
    checkpoint = torch.load(Path(outcome.json["run"]) / "checkpoints" / "best.ckpt", weights_only=True)
    (optimizer,) = checkpoint["optimizer_states"]
    tables = optimizer["param_groups"][-1]
    assert tables["name"] == "tables"
    assert len(optimizer["state"][tables["params"][0]]["sum"]) == len(checkpoint["state_dict"][TABLE]) == 4
    measured = mlfund("evaluate", f"run={outcome.json['run']}")
    assert measured.code == 0, measured.err
    value = outcome.json["test"]["auroc"]["value"]
    assert measured.json["metrics"]["auroc"]["value"] == pytest.approx(value) and value > 0.7


def test_sparse(mlfund: Command, table: Path) -> None:
    check(mlfund, arguments(table, "embedding=sparse"))


@pytest.mark.skipif(MISSING, reason="torchrec is not installed")
@pytest.mark.parametrize("devices", [1, 2])
def test_torchrec(mlfund: Command, table: Path, devices: int) -> None:
    more = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"] if devices > 1 else []
    check(mlfund, arguments(table, "embedding=torchrec", *more))


@pytest.mark.skipif(not MISSING, reason="torchrec is installed")
def test_torchrec_is_missing(mlfund: Command, tmp_path: Path) -> None:
    outcome = mlfund("train", "task=binary", "model=dlrm", "embedding=torchrec")
    assert outcome.code == 2
    assert "pip install 'lit_mlfund[torchrec]' && pip install --no-deps torchrec==1.8.0" in outcome.err
    assert list(tmp_path.iterdir()) == []
