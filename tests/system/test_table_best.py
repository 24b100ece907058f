"""A network averaged with boosted trees: the numbers of the run, and of all that opens it again."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss, root_mean_squared_error

from lit_mlfund import load_run
from lit_mlfund.datamodules import TableDataModule
from lit_mlfund.references.boosting import Boosting
from tests.system.conftest import Command

TASKS = {"binary": "label", "multiclass": "kind", "regression": "value"}
QUICK = ("logger=files", "doctor=none", "model.hidden=[8]", "model.num_members=2", "trainer.max_epochs=2")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def arguments(table: Path, task: str) -> tuple[str, ...]:
    others = [name for name in TASKS.values() if name != TASKS[task]]
    columns = (f"data.target={TASKS[task]}", f"data.exclude=[{','.join(others)}]", "data.missing_target=drop")
    return ("train", f"task={task}", "experiment=table_best", f"data.path={table}", *columns, *QUICK)


def boosted(table: Path, task: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what scikit-learn, fitted by hand on the encoded training rows, predicts of a split, and its targets."""
    exclude = [name for name in TASKS.values() if name != TASKS[task]]
    data = TableDataModule(str(table), target=TASKS[task], task=task, exclude=exclude)
    data.setup()

    def design(part: str) -> np.ndarray:
        x = data.whole(part).x
        return np.hstack([x["numeric"].numpy(), x["categorical"].numpy()])

    codes = np.arange(design("train").shape[1]) >= data.whole("train").x["numeric"].shape[1]
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    model = kind(categorical_features=codes, random_state=0).fit(
        design("train"), data.whole("train").y.numpy()
    )
    predict = model.predict if task == "regression" else model.predict_proba
    return predict(design(split)), data.whole(split).y.numpy()


def predicted(table: pl.DataFrame) -> np.ndarray:
    """Return values, or probabilities of the classes, from a table of predictions."""
    if "probability" in table.columns:
        positive = table["probability"].to_numpy()
        return np.stack([1 - positive, positive], 1)
    names = [name for name in table.columns if name.startswith("probability_")]
    return table.select(names).to_numpy() if names else table["prediction"].to_numpy().astype(float)


def criterion(task: str, target: np.ndarray, output: np.ndarray) -> float:
    if task == "regression":
        return float(root_mean_squared_error(target, output))
    return float(log_loss(target, output, labels=np.arange(output.shape[1])))


@pytest.mark.parametrize("task", TASKS)
def test_a_blend_is_the_average_of_network_and_boosting(mlfund: Command, table: Path, task: str) -> None:
    """By hand from the predictions of a run without it; the share from validation alone; references as they were."""
    alone = mlfund(*arguments(table, task), "blend=null")
    outcome = mlfund(*arguments(table, task))
    assert outcome.code == alone.code == 0, outcome.err
    folders = [Path(one.json["run"]) for one in (alone, outcome)]
    assert outcome.json["references"] == alone.json["references"]
    outputs, by_share = {}, {}
    for split in ("val", "test"):
        network, blend = (
            predicted(pl.read_parquet(folder / f"predictions/{split}.parquet")) for folder in folders
        )
        trees, target = boosted(table, task, split)
        outputs[split] = {share: share * network + (1 - share) * trees for share in SHARES}
        by_share[split] = {share: criterion(task, target, outputs[split][share]) for share in SHARES}
        told = json.loads((folders[1] / "metrics.json").read_text())["blend"]
        np.testing.assert_allclose(blend, outputs[split][told["share"]], rtol=2e-5, atol=2e-6)
    best = min(by_share["val"], key=lambda share: by_share["val"][share])
    assert told["share"] == best
    assert told["values"] == pytest.approx({f"{s:g}": by_share["val"][s] for s in SHARES}, rel=1e-4)
    metric = "rmse" if task == "regression" else "log_loss"
    assert outcome.json["test"][metric]["value"] == pytest.approx(by_share["test"][best], rel=1e-4)
    assert outcome.json["objective"]["value"] == pytest.approx(by_share["val"][best], rel=1e-4)
    line = f"this model is {best:.0%} network and {1 - best:.0%} gradient boosting, the best average by validation"
    assert line in " ".join(outcome.err.split())


def test_all_that_opens_a_run_knows_its_trees(mlfund: Command, table: Path) -> None:
    outcome = mlfund(*arguments(table, "binary"), "model.dropout=0", "logger=none")
    run, folder = outcome.json["run"], Path(outcome.json["run"])
    state: dict[str, Any] = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    share = state["lit_mlfund"]["blend"]["share"]
    assert 0 <= share < 1, "the data have to be such that the trees matter"
    assert "gradient boosting, the best average by validation" in (folder / "report.html").read_text()
    for checkpoint in ("best", "last"):
        measured = mlfund("evaluate", f"run={run}", f"checkpoint={checkpoint}")
        assert measured.json["metrics"] == outcome.json["test"]  # the last epoch is the best one
    new = table.with_name("new.parquet")
    rows = pl.read_parquet(folder / "predictions/test.parquet")["row"]
    pl.read_parquet(table)[rows.to_list()].drop("label").write_parquet(new)
    expected = pl.read_parquet(folder / "predictions/test.parquet")["probability"].to_numpy()
    assert mlfund("predict", f"run={run}", f"data.path={new}", "output=new.csv").code == 0
    np.testing.assert_allclose(pl.read_csv("new.csv")["probability"].to_numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(
        load_run(folder).predict(pl.read_parquet(new))["probability"], expected, atol=1e-6
    )
    module = load_run(folder).module
    again = type(module).load_from_checkpoint(folder / "checkpoints/best.ckpt", weights_only=True)
    assert again.blend is not None and again.blend.share == share
    repeated = mlfund("train", f"run={run}")
    assert repeated.json["run"] != run and repeated.json["test"] == outcome.json["test"]


def test_a_run_that_is_resumed_trains_the_network_alone(mlfund: Command, table: Path) -> None:
    """Also from a checkpoint that has its trees: killed while the run was measured, or given more epochs."""
    whole = mlfund(*arguments(table, "binary"), "trainer.max_epochs=3", "schedule=constant")
    part = mlfund(*arguments(table, "binary"), "trainer.max_epochs=1", "schedule=constant")
    run = Path(part.json["run"])
    text = (run / "run.yaml").read_text()
    assert "max_epochs: 1\n" in text
    (run / "run.yaml").write_text(text.replace("max_epochs: 1\n", "max_epochs: 3\n"))
    (run / "result.json").unlink()
    shutil.rmtree(run / "predictions")
    resumed = mlfund("train", f"run={run}")
    assert resumed.code == 0, resumed.err
    assert Path(resumed.json["run"]) == run
    assert resumed.json["test"] == whole.json["test"] and resumed.json["objective"] == whole.json["objective"]
    best = [
        torch.load(f / "checkpoints/best.ckpt", weights_only=True) for f in (run, Path(whole.json["run"]))
    ]
    assert best[0]["lit_mlfund"]["blend"]["share"] == best[1]["lit_mlfund"]["blend"]["share"]


def test_two_processes_have_the_trees_of_one(mlfund: Command, table: Path) -> None:
    outcome = mlfund(
        *arguments(table, "multiclass"), "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"
    )
    assert outcome.code == 0, outcome.err
    blend = json.loads((Path(outcome.json["run"]) / "metrics.json").read_text())["blend"]
    trees, target = boosted(table, "multiclass", "val")
    assert blend["values"]["0"] == pytest.approx(criterion("multiclass", target, trees), rel=1e-4)
    measured = mlfund("evaluate", f"run={outcome.json['run']}")
    assert measured.json["metrics"]["log_loss"]["value"] == pytest.approx(
        outcome.json["test"]["log_loss"]["value"]
    )


def test_without_the_time_for_boosting_the_network_stands_alone(
    mlfund: Command, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = []

    def fit(*_: Any) -> None:
        fits.append(1)
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(Boosting, "fit", fit)
    outcome = mlfund(*arguments(table, "binary"), "references_seconds=0.2")
    assert outcome.code == 0, outcome.err
    assert len(fits) == 1 and "gradient_boosting" not in outcome.json["references"]  # it is not tried again
    assert "gradient boosting is left out: not fitted within 0.2 s (references_seconds)" in (
        " ".join(outcome.err.split())
    )
    assert "this model is the network alone: boosting was not fitted within 0.2 s (references_seconds)" in (
        " ".join(outcome.err.split())
    )
    state = torch.load(Path(outcome.json["run"]) / "checkpoints/best.ckpt", weights_only=True)
    assert "blend" not in state["lit_mlfund"] and state["lit_mlfund"]["format"] == 1


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["task=ranking", "data.query=color"], "not for task=ranking and TableDataModule"),
        (["data=images"], "not for task=binary and ImagesDataModule"),
        (["data=flights_late"], "not for task=binary and FlightsLateDataModule"),
        (["data.cache=cache"], "boosting needs all training rows in memory"),
        (["task=regression", "data.target=value", "loss=quantile"], "boosting predicts means"),
        (["trainer.strategy=fsdp"], "does not work with trainer.strategy=fsdp"),
        (["trainer.precision=bf16-true"], "use -mixed instead of trainer.precision=bf16-true"),
        (["train=false"], "leave out train=false"),
        (["blend=forest"], "blend: expected boosting or null, got forest"),
    ],
)
def test_what_cannot_be_blended_is_refused(
    mlfund: Command, table: Path, extra: list[str], message: str
) -> None:
    source = [f"data.path={table}", "data.target=label"] if not extra[0].startswith("data=") else []
    source = [line for line in source if line.split("=")[0] not in {word.split("=")[0] for word in extra}]
    base = ["data=table"] if not extra[0].startswith("data=") else []
    path = [f"data.path={table.parent}"] if "data=images" in extra else []
    outcome = mlfund("train", "task=binary", "blend=boosting", *base, *source, *path, *extra)
    assert outcome.code == 2 and message in outcome.err
    assert outcome.err.count("blend:") == 1 and not list(Path("runs").glob("*/*"))
