"""What one part of a run hands to the next, by value: rows, weights, references and figures."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.system.conftest import Command

CALLBACKS = """
import os, signal
from lightning.pytorch import Callback

class Stop(Callback):
    "Sends this process a signal, as a scheduler would."
    def __init__(self, step: int):
        self.step = step
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

class Explode(Callback):
    "Sets the weights of the second epoch to what no step recovers from."
    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            for parameter in module.model.parameters():
                parameter.data.fill_(float("inf"))
"""
SIZES = {"train": 300, "val": 90, "test": 120}
LINES = (
    "train", "task=binary", "data=table", "data.path=train.csv", "data.val_path=val.csv", "data.test_path=test.csv",
    "data.target=label", "data.batch_size=32", "logger=files", "model=linear", "optim.lr=0.02",
    "monitor=val/auroc", "trainer.max_epochs=10", "callbacks.early_stopping.patience=5",
)  # fmt: skip


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, pl.DataFrame]]:
    """A split of two numbers and a category each, and callbacks of the user's own; signal handlers are put back."""
    frames = {}
    for seed, (split, size) in enumerate(SIZES.items()):
        generator = np.random.default_rng(seed)
        a, b, color = (
            generator.normal(size=size),
            generator.normal(2, 3, size),
            generator.choice(["red", "blue"], size),
        )
        logit, noise = 1.5 * a + 0.3 * b + (color == "red"), generator.logistic(size=size)
        frames[split] = pl.DataFrame(
            {"a": a, "b": b, "color": color, "label": (logit + noise > 0).astype(int)}
        )
        frames[split].write_csv(tmp_path / f"{split}.csv")
    (tmp_path / "mine_joints.py").write_text(CALLBACKS)
    monkeypatch.syspath_prepend(tmp_path)
    handlers = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
    }
    yield frames
    sys.modules.pop("mine_joints", None)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def read(run: str | Path, name: str) -> Any:
    return json.loads((Path(run) / name).read_text())


def test_a_run_says_the_same_in_every_place(mlfund: Command, files: dict[str, pl.DataFrame]) -> None:
    trained = mlfund(*LINES, "trainer.max_epochs=4", "model=mlp", "model.hidden=[8]", "model.dropout=0.3")
    assert trained.code == 0, trained.err
    run, result = trained.json["run"], trained.json
    metrics = read(run, "metrics.json")
    steps = math.ceil(SIZES["train"] / 32)

    history = [epoch["val/auroc"] for epoch in metrics["history"]]
    best = max(history)
    assert [epoch["step"] for epoch in metrics["history"]] == [steps * (epoch + 1) for epoch in range(4)]
    assert result["objective"] == {"name": "val/auroc", "value": best}
    assert metrics["objective"]["mode"] == "max" and metrics["objective"]["step"] == steps * (
        history.index(best) + 1
    )
    saved = {
        name: torch.load(Path(run) / "checkpoints" / f"{name}.ckpt", weights_only=True)
        for name in ("best", "last")
    }
    assert (
        saved["best"]["global_step"] == metrics["objective"]["step"]
        and saved["last"]["global_step"] == 4 * steps
    )
    assert metrics["splits"]["val"]["auroc"]["value"] == pytest.approx(best)
    assert result["test"] == metrics["splits"]["test"]
    assert result["references"] == {
        name: measured["test"] for name, measured in metrics["references"].items()
    }

    for epoch in metrics["history"]:  # the loss is the mean over the rows, not over the batches
        assert epoch["val/loss"] == pytest.approx(epoch["val/log_loss"], abs=1e-6)

    numbers = metrics["numbers"]
    assert numbers["train/loss"] == pytest.approx(numbers["train/log_loss"], abs=1e-6)
    assert (numbers["steps"], numbers["epochs"]) == (4 * steps, 4)
    matrices = [
        value.double()
        for name, value in saved["best"]["state_dict"].items()
        if name.startswith("model.") and value.ndim > 1
    ]
    assert numbers["weights/norm"] == pytest.approx(
        float(sum((matrix**2).sum() for matrix in matrices)) ** 0.5
    )
    zeros = sum(int((matrix == 0).sum()) for matrix in matrices)  # the embedding of what was never seen
    assert numbers["weights/zero_share"] == zeros / sum(matrix.numel() for matrix in matrices)

    told = {split: mlfund("evaluate", f"run={run}", f"split={split}").json for split in ("val", "test")}
    for split, told_of in told.items():
        assert told_of["metrics"] == metrics["splits"][split]
        assert (told_of["rows"], told_of["split"], told_of["checkpoint"]) == (SIZES[split], split, "best")
    again = mlfund("evaluate", f"run={run}", "data.path=train.csv").json
    for name, measured in again["metrics"].items():
        assert numbers[f"train/{name}"] == pytest.approx(measured["value"], abs=1e-6), name
    last = mlfund("evaluate", f"run={run}", "split=val", "checkpoint=last").json
    assert last["metrics"]["auroc"]["value"] == pytest.approx(history[-1]) and last["checkpoint"] == "last"

    assert (
        mlfund("predict", f"run={run}", "data.path=test.csv", "output=out.parquet").json["rows"]
        == SIZES["test"]
    )
    predicted, kept = (
        pl.read_parquet("out.parquet"),
        pl.read_parquet(Path(run) / "predictions" / "test.parquet"),
    )
    kept = kept.sort("row")
    assert kept["target"].cast(int).to_list() == files["test"]["label"].to_list()
    column = next(name for name in predicted.columns if "prob" in name)
    probability = predicted[column].to_numpy()
    assert kept[column].to_numpy() == pytest.approx(probability, abs=1e-6)
    truth = files["test"]["label"].to_numpy()
    assert result["test"]["auroc"]["value"] == pytest.approx(roc_auc_score(truth, probability), abs=1e-6)
    assert result["test"]["log_loss"]["value"] == pytest.approx(log_loss(truth, probability), abs=1e-5)


def test_references_hold_the_probabilities_of_scikit_learn(
    mlfund: Command, files: dict[str, pl.DataFrame]
) -> None:
    """Fitted on the training rows alone; an AUROC would hide an offset or a scale of the logits."""
    trained = mlfund(*LINES, "trainer.max_epochs=1")
    assert trained.code == 0, trained.err
    told = trained.json["references"]
    train, test = files["train"], files["test"]
    y, truth = train["label"].to_numpy(), test["label"].to_numpy()
    share = np.full(len(truth), y.mean())
    assert told["constant"]["log_loss"]["value"] == pytest.approx(log_loss(truth, share), abs=1e-6)
    assert told["constant"]["auroc"]["value"] == 0.5

    scaler, onehot = StandardScaler().fit(train[["a", "b"]]), OneHotEncoder().fit(train[["color"]])

    def design(frame: pl.DataFrame) -> np.ndarray:
        return np.hstack([scaler.transform(frame[["a", "b"]]), onehot.transform(frame[["color"]]).toarray()])

    model = LogisticRegression(max_iter=200).fit(design(train), y)
    probability = model.predict_proba(design(test))[:, 1]
    assert told["linear"]["log_loss"]["value"] == pytest.approx(log_loss(truth, probability), abs=2e-3)
    assert told["linear"]["auroc"]["value"] == pytest.approx(roc_auc_score(truth, probability), abs=2e-3)
    boosting = told["gradient_boosting"]
    assert (
        boosting["log_loss"]["value"] < told["constant"]["log_loss"]["value"]
        and boosting["auroc"]["value"] > 0.7
    )


def test_the_other_value_of_what_is_measured(mlfund: Command, files: dict[str, pl.DataFrame]) -> None:
    """`checkpoint=last`, without references; and without a test, where nothing is measured at all."""
    last = mlfund(*LINES, "trainer.max_epochs=3", "references=false", "checkpoint=last", "optim.lr=3")
    assert last.code == 0, last.err
    history = [epoch["val/log_loss"] for epoch in read(last.json["run"], "metrics.json")["history"]]
    assert read(last.json["run"], "metrics.json")["splits"]["val"]["log_loss"]["value"] == pytest.approx(
        history[-1]
    )
    assert last.json["references"] == {} and len(set(history)) == 3
    untested = mlfund(*LINES, "trainer.max_epochs=1", "test=false")
    assert untested.code == 0, untested.err
    assert (untested.json["test"], untested.json["references"]) == ({}, {})
    assert untested.json["status"] == "done" and untested.json["objective"]["value"] is not None
    assert not (Path(untested.json["run"]) / "predictions").exists()


def test_what_a_diverged_run_leaves_behind(mlfund: Command, files: dict[str, pl.DataFrame]) -> None:
    """The weights of the epoch before, which can be used, and what was logged until then."""
    lines = (*LINES, "trainer.max_epochs=3", "references=false")
    outcome = mlfund(*lines, "callbacks.mine._target_=mine_joints.Explode")
    assert outcome.code == 3, outcome.err
    run = Path(outcome.json["run"])
    assert outcome.json["status"] == "failed" and outcome.json["findings"] == ["exploding_gradients"]
    assert outcome.json["test"] == {} and outcome.json["references"] == {}
    assert read(run, "result.json") == outcome.json
    assert outcome.json["reason"].startswith("the training loss is nan at step 11; the step was not taken")
    assert outcome.json["reason"] in outcome.err and "Traceback" not in outcome.err
    (finding,) = read(run, "findings.json")
    assert finding["name"] == "exploding_gradients" and finding["severity"] == "error"
    first = mlfund(*lines, "trainer.max_epochs=1", "schedule=constant").json
    (epoch,) = read(run, "metrics.json")["history"]
    assert (epoch["epoch"], epoch["step"]) == (1, math.ceil(SIZES["train"] / 32))
    assert read(first["run"], "metrics.json")["history"][0].keys() == epoch.keys()
    for name in ("best", "last"):
        state = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert state["global_step"] == epoch["step"]
        assert all(torch.isfinite(value).all() for value in state["state_dict"].values())
    measured = mlfund("evaluate", f"run={run}", "split=val", "--trust", "mine_joints")
    assert measured.json["metrics"]["auroc"]["value"] == pytest.approx(epoch["val/auroc"])
    again = mlfund(
        "train", f"run={run}", "--trust", "mine_joints"
    )  # repeated in a new folder; the first is left as it was
    assert again.code == 3 and again.json["run"] != str(run)
    assert read(run, "result.json") == outcome.json


@pytest.mark.parametrize("changed", [True, False])
def test_data_changed_between_a_start_and_its_resume(
    mlfund: Command, files: dict[str, pl.DataFrame], recwarn: pytest.WarningsRecorder, changed: bool
) -> None:
    """The resumed run says so, as a warning and as a finding, and measures the rows as they are now."""
    step = math.ceil(SIZES["train"] / 32) + 3
    stopped = mlfund(
        *LINES,
        "trainer.max_epochs=2",
        "callbacks.mine._target_=mine_joints.Stop",
        f"callbacks.mine.step={step}",
    )
    assert stopped.code == 143, stopped.err
    run = stopped.json["run"]
    test = files["test"].with_columns(label=1 - pl.col("label")) if changed else files["test"]
    test.write_csv("test.csv")
    os.utime("test.csv")  # written to, but with the same bytes where nothing changed
    resumed = mlfund("train", f"run={run}", "--trust", "mine_joints")
    assert resumed.code == 0, resumed.err
    assert resumed.json["run"] == run and resumed.json["status"] == "done"
    warning = f"{Path('test.csv').resolve()} has changed since the run was interrupted"
    assert any(warning in str(told.message) for told in recwarn) == changed
    findings = {finding["name"]: finding for finding in read(run, "findings.json")}
    assert ("changed_data" in findings) == ("changed_data" in resumed.json["findings"]) == changed
    auroc = resumed.json["test"]["auroc"]["value"]
    assert auroc < 0.4 if changed else auroc > 0.6
    if changed:
        assert warning in findings["changed_data"]["symptom"]
