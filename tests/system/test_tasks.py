"""Every task shape and every legal loss through the command line, on real data or on data of a known answer."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import torch

from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.options import options
from tests.system.conftest import POINT_REFERENCES, Command

SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=20", "references=false", "logger=none")
PAIR = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "references=false", "logger=none")
SMALL = {  # the smallest data of each task
    "binary": ["data=breast_cancer"],
    "multiclass": ["data=digits"],
    "regression": ["data=diabetes"],
    "ranking": ["data=letor", "data.path=lists.txt"],
    "retrieval": [
        "data=interactions", "data.path=interactions.csv", "data.user=user", "data.item=item", "data.time=time",
    ],
}  # fmt: skip


@pytest.mark.parametrize("task", SMALL)
def test_a_task_alone_is_a_complete_run(mlfund: Command, task: str) -> None:
    outcome = mlfund("train", f"task={task}", *SHORT)
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert result["status"] == "done" and result["objective"]["name"].startswith("val/")
    run = Path(result["run"])
    for name in (
        "run.yaml",
        "provenance.json",
        "metrics.json",
        "findings.json",
        "result.json",
        "report.html",
    ):
        assert (run / name).is_file(), name
    for name in ("best", "last"):
        torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
    metric = result["test"][result["objective"]["name"].removeprefix("val/")]
    assert metric["low"] <= metric["value"] <= metric["high"]
    assert len(pl.read_parquet(run / "predictions" / "test.parquet")) > 0
    assert json.loads((run / "result.json").read_text()) == result


def loss_pairs() -> list[tuple[str, str]]:
    return [(task, entry.name) for entry in options(catalog(), "loss") for task in entry.tasks]


@pytest.mark.parametrize(("task", "loss"), loss_pairs())
def test_every_legal_loss_trains(
    mlfund: Command, letor: Path, interactions: Path, task: str, loss: str
) -> None:
    options = [*SMALL[task]]
    if loss == "bce" and task == "ranking":  # relevance is 0 or 1 there
        letor.write_text(
            "\n".join(line.replace("2 qid", "1 qid", 1) for line in letor.read_text().splitlines())
        )
    outcome = mlfund("train", f"task={task}", f"loss={loss}", *options, *PAIR)
    assert outcome.code == 0, outcome.err
    assert outcome.json["status"] == "done"


@pytest.mark.parametrize("task", SMALL)
def test_every_other_loss_is_refused(mlfund: Command, letor: Path, interactions: Path, task: str) -> None:
    legal = {loss for shape, loss in loss_pairs() if shape == task}
    for loss in {entry.name for entry in options(catalog(), "loss")} - legal:
        outcome = mlfund("train", f"task={task}", f"loss={loss}", *SMALL[task], *PAIR)
        assert outcome.code == 2 and "loss" in outcome.err and task in outcome.err, loss
    assert not Path("runs").exists()


def test_a_composition_of_the_users_own(mlfund: Command) -> None:
    outcome = mlfund(
        "train", "task=regression", "data=diabetes", "loss=composite", "loss.parts.huber.weight=0.5",
        "loss.parts.huber.loss.delta=2", *PAIR,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err


def test_the_history_holds_every_epoch(mlfund: Command) -> None:
    outcome = mlfund(
        "train", "task=binary", "data=breast_cancer", "trainer.max_epochs=4", "optim.lr=3", "schedule=constant",
        "references=false", "logger=none",
    )  # fmt: skip
    metrics = json.loads((Path(outcome.json["run"]) / "metrics.json").read_text())
    assert [entry["epoch"] for entry in metrics["history"]] == [1, 2, 3, 4]
    best = max(entry["val/auroc"] for entry in metrics["history"])
    assert (
        outcome.json["objective"]["value"]
        == metrics["splits"]["val"]["auroc"]["value"]
        == pytest.approx(best)
    )


def test_references_are_measured_on_the_same_rows(mlfund: Command) -> None:
    outcome = mlfund("train", "task=binary", "data=breast_cancer", "trainer.max_epochs=2", "logger=none")
    references = outcome.json["references"]
    assert set(references) == POINT_REFERENCES
    assert references["constant"]["auroc"]["value"] == 0.5
    assert references["linear"]["auroc"]["value"] > 0.95
