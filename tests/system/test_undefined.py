"""What cannot be measured is said: a monitor without a value before the start, and predictions that are not finite."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.system.conftest import Command


def write(path: Path, label: int | None = None, rows: int = 60) -> None:
    generator = np.random.default_rng(rows)
    x = generator.normal(size=rows)
    y = (x > 0).astype(int) if label is None else np.full(rows, label)
    pl.DataFrame({"x": x, "y": y, "z": 3 * x}).write_csv(path)


@pytest.mark.parametrize(
    ("monitor", "code"), [("val/auroc", 2), ("val/average_precision", 2), ("val/log_loss", 0)]
)
def test_one_class_in_validation(mlfund: Command, tmp_path: Path, monitor: str, code: int) -> None:
    for name, label in (("train", None), ("val", 1), ("test", None)):
        write(tmp_path / f"{name}.csv", label)
    outcome = mlfund(
        "train", "task=binary", "data=table", "data.path=train.csv", "data.val_path=val.csv", "data.test_path=test.csv",
        "data.target=y", "data.exclude=[z]", f"monitor={monitor}", "trainer.max_epochs=1", "references=false",
    )  # fmt: skip
    assert outcome.code == code, outcome.err
    if code:
        assert f"all 60 validation rows are '1', so {monitor} is undefined" in outcome.err
        assert not (tmp_path / "runs").exists()


def test_predictions_that_are_not_finite(mlfund: Command, tmp_path: Path) -> None:
    """The loss of the last steps was finite: the weights are gone behind them."""
    write(tmp_path / "table.csv", rows=300)
    outcome = mlfund(
        "train", "task=regression", "data=table", "data.path=table.csv", "data.target=z", "data.exclude=[y]",
        "data.batch_size=32", "optim=sgd", "optim.lr=1e6", "trainer.gradient_clip_val=null", "schedule=constant",
        "trainer.max_epochs=1", "trainer.limit_train_batches=4", "references=false", "logger=files",
    )  # fmt: skip
    assert outcome.code == 3, outcome.err
    run = Path(outcome.json["run"])
    assert outcome.json["status"] == "failed" and outcome.json["findings"] == ["exploding_gradients"]
    assert json.loads((run / "result.json").read_text())["reason"] == outcome.json["reason"]
    assert (run / "findings.json").exists() and "Traceback" not in outcome.err
