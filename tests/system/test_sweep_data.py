"""Jobs of a sweep that want the same data share what the first of them loaded, and nothing of it can be told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from lit_mlfund.datamodules import BreastCancerDataModule
from lit_mlfund.datamodules.frame import FrameDataModule
from lit_mlfund.sweeps.job import Job
from tests.system.conftest import Command, Outcome

QUICK = ("references=false", "logger=files", "trainer.max_epochs=2")
SMALL = ("task=binary", "data=breast_cancer", "model=mlp", *QUICK)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[FrameDataModule]:
    """The data modules that have read, fitted and encoded."""
    built: list[FrameDataModule] = []
    build = FrameDataModule.build

    def watched(data: FrameDataModule) -> None:
        built.append(data)
        build(data)

    monkeypatch.setattr(FrameDataModule, "build", watched)
    return built


def jobs(told: Outcome) -> list[dict[str, Any]]:
    assert told.code == 0, told.err
    return [json.loads(line) for line in told.out.splitlines() if line.startswith('{"run"')]


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two results are of runs that are equal to the bit."""
    assert one["test"] == other["test"]
    runs = [Path(result["run"]) for result in (one, other)]
    metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
    assert metrics[0] == metrics[1]
    told = [json.loads((run / "provenance.json").read_text()) for run in runs]
    assert told[0]["data"] == told[1]["data"]
    assert told[0]["sources"] == told[1]["sources"]
    states = [torch.load(run / "checkpoints" / "best.ckpt", weights_only=True) for run in runs]
    weights, expected = (state["state_dict"] for state in states)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    key = next(name for name in states[0] if name.endswith("DataModule"))
    assert states[0][key] == states[1][key]
    predictions = [pl.read_parquet(run / "predictions" / "test.parquet") for run in runs]
    assert predictions[0].equals(predictions[1])


def test_each_job_is_the_job_alone(mlfund: Command, builds: list[FrameDataModule]) -> None:
    swept = ("optim.lr=1e-3,1e-2", "seed=0,1", "data.batch_size=32,64")
    together = jobs(mlfund("train", "-m", *SMALL, *swept))
    assert len(builds) == 1
    assert len(together) == 8
    for job in (together[3], together[4], together[-1]):
        assert_same(job, mlfund("train", *SMALL, *(line.lstrip("+") for line in job["overrides"][-3:])).json)
    assert len(builds) == 4  # nothing is shared outside of a sweep


def test_lists_and_interactions(mlfund: Command, letor: Path, interactions: Path) -> None:
    ranking = ("task=ranking", "data=letor", f"data.path={letor}")
    retrieval = ("task=retrieval", "data=interactions", f"data.path={interactions}")
    retrieval += ("data.user=user", "data.item=item", "data.time=time")
    for asked in (ranking, retrieval):
        told = jobs(mlfund("train", "-m", *asked, *QUICK, "seed=0,1"))
        assert_same(told[1], mlfund("train", *asked, *QUICK, "seed=1").json)


def test_other_data_are_loaded(mlfund: Command, builds: list[FrameDataModule]) -> None:
    told = jobs(mlfund("train", "-m", *SMALL, "data.split_seed=0,1", "seed=0,1"))
    assert [data.split_seed for data in builds] == [0, 1]  # type: ignore[attr-defined]
    assert_same(told[3], mlfund("train", *SMALL, "data.split_seed=1", "seed=1").json)


def test_a_file_that_changes_between_jobs_is_read_anew(
    mlfund: Command, table: Path, builds: list[FrameDataModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("task=binary", "data=table", f"data.path={table}", "data.target=label", *QUICK)
    asked += ("data.exclude=[value,kind]",)
    run = Job.run

    def changing(job: Job, number: int, *arguments: Any) -> dict[str, Any]:
        if number == 2:
            pl.read_parquet(table).head(700).write_parquet(table)
        return run(job, number, *arguments)

    monkeypatch.setattr(Job, "run", changing)
    told = jobs(mlfund("train", "-m", *asked, "seed=0,1,2,3"))
    assert len(builds) == 2
    rows = [json.loads((Path(job["run"]) / "provenance.json").read_text())["data"]["rows"] for job in told]
    assert [sum(split.values()) for split in rows] == [900, 900, 700, 700]
    assert_same(told[3], mlfund("train", *asked, "seed=3").json)


def test_what_a_run_has_written_over_is_loaded_anew(
    mlfund: Command, builds: list[FrameDataModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = mlfund("train", *SMALL, "seed=1").json
    serve = BreastCancerDataModule.train_dataloader

    def careless(data: BreastCancerDataModule) -> Any:
        if data.seed == 0:
            data.stores["train"].x["numeric"].add_(1)  # type: ignore[attr-defined]
        return serve(data)

    monkeypatch.setattr(BreastCancerDataModule, "train_dataloader", careless)
    told = jobs(mlfund("train", "-m", *SMALL, "seed=0,1"))
    assert len(builds) == 3
    assert_same(told[1], alone)
