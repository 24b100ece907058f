"""Two processes, started from the frozen file: each row counts once, and the weights are one model's."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from tests.system.conftest import Command


@pytest.mark.parametrize("trainer", ["ddp", "fsdp"])
def test_two_processes(mlfund: Command, trainer: str) -> None:
    outcome = mlfund(
        "train", "task=binary", "data=breast_cancer", f"trainer={trainer}", "trainer.accelerator=cpu",
        "trainer.devices=2", "trainer.max_epochs=2", "references=false", "logger=none", "data.batch_size=64",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert result["status"] == "done"
    rows = pl.read_parquet(Path(result["run"]) / "predictions" / "test.parquet")["row"]
    assert rows.n_unique() == len(rows) == 86
    # a checkpoint of many processes serves in one
    torch.load(Path(result["run"]) / "checkpoints" / "best.ckpt", weights_only=True)
    measured = mlfund("evaluate", f"run={result['run']}")
    assert measured.code == 0, measured.err
    assert measured.json["metrics"]["auroc"]["value"] == pytest.approx(result["test"]["auroc"]["value"])
