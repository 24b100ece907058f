"""Sweeps on the real command line: over the learning rate alone, and many small runs in one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from lit_mlfund.startup.signals import Stopped, StopRequest
from tests.system.conftest import Command

SMALL = ("task=binary", "data=breast_cancer", "model=linear", "references=false", "logger=files")


def test_the_learning_rate_alone(mlfund: Command, tmp_path: Path) -> None:
    told = mlfund("train", "sweep=lr", "sweep.minutes=0.05", *SMALL, "trainer.max_epochs=1", "optim.lr=0.002")
    assert told.code == 0, told.err
    summary = told.json
    trials = {trial["lr"]: trial["value"] for trial in summary["trials"]}
    assert list(trials)[:2] in ([0.002, 0.00632], [0.002])  # a slow machine has time for one
    assert summary["lr"] == max(trials, key=lambda rate: (trials[rate], -abs(rate - 0.002)))
    assert summary["override"] == f"optim.lr={summary['lr']:g}"
    assert summary["objective"] == {"name": "val/auroc", "value": max(trials.values())}
    folder = Path(summary["sweep"])
    assert Path(summary["picture"]).read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "lr.json").read_text())["trials"] == summary["trials"]
    assert len(list((folder / "jobs").iterdir())) == len(trials)
    frozen = yaml.safe_load((Path(summary["run"]) / "run.yaml").read_text())
    assert "sweep" not in frozen
    assert frozen["optim"]["lr"] == summary["lr"]
    for trial in summary["trials"]:  # nothing was measured on the test split
        assert json.loads((Path(trial["run"]) / "result.json").read_text())["test"] == {}
        assert not (Path(trial["run"]) / "predictions").exists()
    assert summary["override"] in told.err
    assert "val/auroc" in told.err  # the table


def test_what_a_search_for_the_rate_cannot_start_with(mlfund: Command, tmp_path: Path) -> None:
    told = mlfund(
        "train", "-m", "sweep=lr", "sweep.minutes=0", *SMALL, "optim.lr=auto", "seed=0,1", "train=false"
    )
    assert told.code == 2
    for part in ("not at 2", "sweep.minutes: expected more than 0", "got auto", "leave out train=false"):
        assert part in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", [(), ("sweep=stacked",)])
def test_the_data_are_told_once(mlfund: Command, way: tuple[str, ...]) -> None:
    told = mlfund("train", "-m", *way, *SMALL, "trainer.max_epochs=1", "seed=0,1,2")
    assert told.code == 0, told.err
    assert told.err.count("  target: diagnosis, 1 is 'malignant': ") == 1
    assert told.err.count("val, test: drawn at random (split_seed 0)") == 1
    assert told.err.count("\nrun    runs/") == 3
    assert told.err.index("target: diagnosis") < told.err.index("run    runs/")


def test_other_data_are_told_again(mlfund: Command) -> None:
    told = mlfund("train", "-m", *SMALL, "trainer.max_epochs=1", "seed=0,1", "data.split_seed=0,1")
    assert told.code == 0, told.err
    assert [line for line in told.err.splitlines() if "drawn at random" in line] == [
        f"  val, test: drawn at random (split_seed {seed})" for seed in (0, 1, 0, 1)
    ]


def test_a_sweep_ends_in_a_table(mlfund: Command) -> None:
    told = mlfund("train", "-m", *SMALL, "trainer.max_epochs=1", "optim.lr=1e-5,1e-1", "test=false")
    assert told.code == 0, told.err
    table = told.err[told.err.rindex("\nrun  ") + 1 :].splitlines()
    assert table[0].split() == ["run", "optim.lr", "val/auroc", "seconds"]
    assert [line.split()[1] for line in table[2:4]] == ["0.1", "1e-05"]
    assert told.json["job"] == 1


STACKED = ("task=binary", "data=breast_cancer", "model=mlp", "references=false", "logger=files")
STACKED += ("trainer.max_epochs=5", "callbacks.early_stopping.patience=1", "seed=0,1", "optim.lr=3e-3,1e-1")


def test_a_stacked_sweep_is_the_separate_runs(mlfund: Command, tmp_path: Path) -> None:
    together = mlfund("train", "-m", "sweep=stacked", *STACKED)
    assert together.code == 0, together.err
    alone = mlfund("train", "-m", *STACKED)
    results = [
        [json.loads(line) for line in told.out.splitlines() if line.startswith('{"run"')]
        for told in (together, alone)
    ]
    assert [len(part) for part in results] == [4, 4]
    stopped = set()
    for one, other in zip(*results):
        runs = [Path(result["run"]) for result in (one, other)]
        assert one["test"] == other["test"]
        assert one["objective"] == other["objective"]
        metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
        assert metrics[0] == metrics[1]
        stopped.add(len(metrics[0]["history"]))
        for name in ("best", "last"):
            weights, expected = (
                torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
                for run in runs
            )
            assert weights.keys() == expected.keys()
            assert all(torch.equal(weights[key], expected[key]) for key in weights), name
        frozen = [yaml.safe_load((run / "run.yaml").read_text()) for run in runs]
        assert frozen[0] == frozen[1]
    assert len(stopped) > 1  # a member that ended left the others as they were
    run = results[0][0]["run"]
    measured = mlfund("evaluate", f"run={run}", "checkpoint=last")
    assert measured.code == 0, measured.err
    again = mlfund("train", f"run={run}")
    assert again.json["test"] == results[0][0]["test"]


def test_what_cannot_be_stacked_is_told_before_the_start(mlfund: Command, tmp_path: Path) -> None:
    told = mlfund(
        "train", "-m", "sweep=stacked", *SMALL, "model=linear,mlp", "regularization=l1", "optim=adafactor"
    )
    assert told.code == 2
    for part in (
        "model: sweep=stacked needs one",
        "regularization.l1: ",
        "optim: sweep=stacked cannot stack adafactor",
    ):
        assert part in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_stacked_sweep_that_is_stopped_can_be_resumed(
    mlfund: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(100))

    def check(request: StopRequest, where: str = "") -> None:
        if next(steps) == 7:
            raise Stopped("stopped by a signal")

    asked = (*STACKED[:-2], "trainer.max_epochs=2", "seed=0,1")
    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "check", check)
        stopped = mlfund("train", "-m", "sweep=stacked", *asked)
    assert stopped.code == 143
    (folder,) = (tmp_path / "runs" / "sweeps").iterdir()
    jobs = [json.loads(file.read_text()) for file in sorted((folder / "jobs").iterdir())]
    assert [job["status"] for job in jobs] == ["preempted", "preempted"]
    resumed = mlfund("train", f"run={jobs[1]['run']}")
    assert resumed.code == 0, resumed.err
    assert resumed.json["run"] == jobs[1]["run"]
    alone = mlfund("train", *asked[:-1], "seed=1")
    assert resumed.json["test"] == alone.json["test"]


def test_a_member_that_was_killed_before_its_result_goes_on(mlfund: Command, tmp_path: Path) -> None:
    """Its checkpoints hold no state of an optimizer: by hand it starts again, the same command trains it anew."""
    asked = ("train", "-m", "sweep=stacked", *STACKED[:-2], "trainer.max_epochs=2", "seed=0,1,2")
    first = mlfund(*asked)
    results = [json.loads(line) for line in first.out.splitlines() if line.startswith('{"run"')]
    (folder,) = (tmp_path / "runs" / "sweeps").iterdir()
    weights = [torch.load(f"{result['run']}/checkpoints/last.ckpt") for result in results]
    for number in (0, 2):
        Path(results[number]["run"], "result.json").unlink()
        (folder / "jobs" / f"{number}.json").unlink()
    by_hand = mlfund("train", f"run={results[2]['run']}")
    assert by_hand.code == 0, by_hand.err
    again = mlfund(*asked)
    assert again.code == 0, again.err
    assert "goes on: 1 of 3 jobs are done" in again.err
    for number, result in enumerate(results):
        job = json.loads((folder / "jobs" / f"{number}.json").read_text())
        assert (job["run"], job["test"], job["status"]) == (result["run"], result["test"], "done")
        found = torch.load(f"{job['run']}/checkpoints/last.ckpt")["state_dict"]
        expected = weights[number]["state_dict"]
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert len(list((tmp_path / "runs" / "binary").iterdir())) == 3


def test_a_search_for_the_rate_goes_on(mlfund: Command, tmp_path: Path) -> None:
    asked = ("train", "sweep=lr", *SMALL, "trainer.max_epochs=1", "optim.lr=0.002")
    first = mlfund(*asked, "sweep.minutes=0.001").json
    assert len(first["trials"]) == 1
    seconds = json.loads(Path(first["sweep"], "jobs", "0.json").read_text())["seconds"]
    second = mlfund(*asked, f"sweep.minutes={2.2 * seconds / 60 + 0.0005:.5f}")
    assert second.code == 0, second.err
    assert second.json["sweep"] == first["sweep"]
    assert second.json["trials"][0] == first["trials"][0]
    third = mlfund(*asked, "sweep.minutes=0.001").json
    assert third["trials"] == second.json["trials"]


def test_a_diverged_member_is_failed_and_leaves_the_others(mlfund: Command) -> None:
    asked = (
        "task=regression",
        "data=diabetes",
        "model=linear",
        "optim=sgd",
        "schedule=null",
        "references=false",
    )
    asked += ("logger=files", "trainer.max_epochs=2", "trainer.gradient_clip_val=null", "optim.lr=0.01,1e30")
    together, alone = mlfund("train", "-m", "sweep=stacked", *asked), mlfund("train", "-m", *asked)
    for told in (together, alone):
        assert told.code == 3
        results = [json.loads(line) for line in told.out.splitlines() if line.startswith('{"run"')]
        assert [result["status"] for result in results] == ["done", "failed"]
        assert results[1]["findings"] == ["exploding_gradients"]
        assert "lower optim.lr" in results[1]["reason"]
