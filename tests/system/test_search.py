"""sweep=search on the real command line: proposals, pruning, several objectives, going on, and wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.system.conftest import Command

optuna = pytest.importorskip("optuna")

SMALL = ("task=binary", "data=breast_cancer", "model=linear", "references=false", "logger=files")
RATE = "sweep.space={optim.lr: {low: 1e-4, high: 1e-1, log: true}}"
SEARCH = ("sweep=search", *SMALL)


def jobs(folder: str) -> dict[int, dict[str, Any]]:
    files = sorted(Path(folder, "jobs").glob("*.json"), key=lambda file: int(file.stem))
    return {int(file.stem): json.loads(file.read_text()) for file in files}


def load(summary: dict[str, Any]) -> Any:
    from lit_mlfund.runs.assembly.trial import open_storage

    return optuna.load_study(study_name=summary["study"], storage=open_storage(summary["storage"]))


def test_a_search_goes_on_and_proposes_the_same(mlfund: Command, tmp_path: Path) -> None:
    asked = (*SEARCH, RATE, "trainer.max_epochs=1", "sweep.startup=1", "sweep.pruner=none")
    whole = mlfund("train", *asked, "sweep.trials=3", "runs_dir=whole").json
    first = mlfund("train", *asked, "sweep.trials=2")
    assert first.code == 0, first.err
    told = mlfund("train", *asked, "sweep.trials=3")
    assert told.code == 0, told.err
    assert "is of the same command and goes on: 2 jobs are done" in told.err
    summary = told.json
    assert summary["sweep"] == first.json["sweep"]
    rates = [trial["params"]["optim.lr"] for trial in summary["trials"]]
    assert rates == [trial["params"]["optim.lr"] for trial in whole["trials"]]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates) and len(set(rates)) == 3
    values = [job["objective"]["value"] for job in jobs(summary["sweep"]).values()]
    assert [trial["values"] for trial in summary["trials"]] == [[value] for value in values]
    assert summary["best"][0]["values"] == [max(values)]
    assert summary["overrides"] == [f"optim.lr={rates[values.index(max(values))]!r}"]
    study = load(summary)
    assert study.best_value == max(values) and study.direction.name == "MAXIMIZE"
    assert [trial.params["optim.lr"] for trial in study.trials] == rates
    alone = mlfund("train", *SMALL, "trainer.max_epochs=1", f"optim.lr={rates[2]!r}").json
    assert alone["objective"]["value"] == values[2]


def test_what_does_worse_is_pruned(mlfund: Command, tmp_path: Path) -> None:
    """Of rates in the order of a grid the second is far too low: at its first validation it is behind the first."""
    asked = ("sweep.space={optim.lr: [0.03, 1e-6, 0.1]}", "sweep.sampler=grid", "sweep.startup=1")
    told = mlfund(
        "train", *SEARCH, *asked, "trainer.max_epochs=3", "sweep.trials=null", "sweep.storage=sqlite"
    )
    assert told.code == 0, told.err
    summary = told.json
    assert [trial["params"]["optim.lr"] for trial in summary["trials"]] == ["0.03", "1e-06", "0.1"]
    found = jobs(summary["sweep"])
    assert [found[0]["status"], found[1]["status"]] == ["done", "pruned"]
    assert found[1]["reason"].startswith("pruned after 13 optimizer steps: val/auroc is 0.")
    run = Path(found[1]["run"])
    assert json.loads((run / "result.json").read_text())["status"] == "pruned"
    history = json.loads((run / "metrics.json").read_text())["history"]
    assert [entry["step"] for entry in history] == [13]
    assert found[1]["objective"]["value"] == history[0]["val/auroc"]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 13
    trial = load(summary).trials[1]
    assert trial.state.name == "PRUNED" and trial.intermediate_values == {1: history[0]["val/auroc"]}
    assert f"{run.name} pruned" in told.err
    again = mlfund(
        "train", *SEARCH, *asked, "trainer.max_epochs=3", "sweep.trials=null", "sweep.storage=sqlite"
    )
    assert again.json["trials"] == summary["trials"]
    assert "3 jobs are done" in again.err


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
def test_every_pruner_and_sampler_trains(mlfund: Command, pruner: str) -> None:
    space = "sweep.space={optim.lr: {low: 1e-3, high: 1e-1, log: true}, optim.weight_decay: {low: 0.0, high: 0.1}}"
    sampler = {"median": "cmaes", "halving": "random", "hyperband": "tpe"}[pruner]
    asked = (f"sweep.pruner={pruner}", f"sweep.sampler={sampler}", "sweep.trials=2", "trainer.max_epochs=2")
    told = mlfund("train", *SEARCH, space, *asked, "sweep.startup=1")
    assert told.code == 0, told.err
    assert {job["status"] for job in jobs(told.json["sweep"]).values()} <= {"done", "pruned"}
    first, second = (trial["params"] for trial in told.json["trials"])
    assert first != second


def test_a_trial_that_crashes_is_resumed_by_the_same_command(
    mlfund: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lit_mlfund.runs.assembly.trial import PruneTrial

    def crash(self: PruneTrial, values: list[float]) -> bool:
        raise KeyError("a defect")

    asked = (RATE, "sweep.trials=1", "trainer.max_epochs=2")
    with monkeypatch.context() as patch:
        patch.setattr(PruneTrial, "_is_pruned", crash)
        told = mlfund("train", *SEARCH, *asked)
    assert told.code == 3
    assert (told.json["status"], told.json["best"]) == ("failed", [])
    (crashed,) = jobs(told.json["sweep"]).values()
    again = mlfund("train", *SEARCH, *asked)
    assert again.code == 0, again.err
    (done,) = jobs(again.json["sweep"]).values()
    assert (crashed["status"], done["status"]) == ("crashed", "done")
    assert done["run"] == crashed["run"]
    assert load(again.json).trials[0].values == [done["objective"]["value"]]
    assert sorted(load(again.json).trials[0].intermediate_values) == [1, 2]


def test_several_objectives(mlfund: Command) -> None:
    objectives = ("sweep.objectives=[val/auroc,val/log_loss]", "sweep.pruner=none")
    told = mlfund(
        "train", "-m", *SEARCH, *objectives, "optim.lr=1e-5,1e-2", "sweep.trials=2", "trainer.max_epochs=2"
    )
    assert told.code == 0, told.err
    summary = told.json
    assert summary["objectives"] == {"val/auroc": "max", "val/log_loss": "min"}
    for trial in summary["trials"]:
        best = torch.load(Path(trial["run"], "checkpoints", "best.ckpt"), weights_only=True)
        last = best["callbacks"]["Progress"]["history"][-1]
        assert trial["values"] == [last["val/auroc"], last["val/log_loss"]]
        assert last["val/auroc"] == jobs(summary["sweep"])[trial["job"]]["objective"]["value"]
    assert summary["best"]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ((), "sweep.space: is empty; say what is searched"),
        (("sweep.space={optim.lr: {low: 1, high: 0.1}}",), "low must be below high, got 1 and 0.1"),
        (("sweep.space={optim.rate: {low: 1, high: 2}}",), "optim.rate: unknown; "),
        (("sweep.space={optim.lr: [0.1, high]}",), "optim.lr: expected float"),
        ((RATE, "optim.lr=0.1"), "optim.lr: is searched, and fixed on the command line"),
        (
            (RATE, "sweep.sampler=grid"),
            "sweep.space.optim.lr: sampler=grid needs choices, or numbers with a step",
        ),
        ((RATE, "sweep.sampler=cmaes"), "sampler=cmaes needs at least two numbers"),
        ((RATE, "sweep.sampler=best"), "sweep.sampler: expected "),
        ((RATE, "sweep.trials=null"), "sampler=tpe has no end"),
        ((RATE, "sweep.objectives=[val/auroc,val/los]"), "there is no val/los; did you mean val/loss?"),
        ((RATE, "sweep.objectives=[val/auroc,val/loss]"), "with several say sweep.pruner=none"),
        ((RATE, "sweep.storage=sqlite:///no/where.db"), "sweep.storage: there is no folder "),
        ((RATE, "train=false"), "leave out train=false"),
        ((RATE, "hydra/sweeper=optuna"), "hydra/sweeper=optuna: is replaced by sweep=search"),
        ((RATE, "hydra/launcher=joblib"), "hydra/launcher=joblib: needs a package"),
    ],
)
def test_what_a_search_cannot_start_with(
    mlfund: Command, tmp_path: Path, asked: tuple[str, ...], problem: str
) -> None:
    told = mlfund("train", "-m", *SEARCH, *asked)
    assert told.code == 2
    assert problem in told.err and "Traceback" not in told.err
    assert list(tmp_path.iterdir()) == []


def test_the_study_of_another_command_is_refused(mlfund: Command, tmp_path: Path) -> None:
    asked = (*SEARCH, RATE, "trainer.max_epochs=1", "sweep.trials=1", "sweep.study=mine")
    shared = f"sweep.storage=sqlite:///{tmp_path}/studies.db"
    assert mlfund("train", *asked, shared).code == 0
    before = sorted(tmp_path.rglob("*"))
    told = mlfund("train", *asked, shared, "seed=1")
    assert told.code == 2
    assert "holds a study mine of another command; name another one with sweep.study=" in told.err
    (tmp_path / "noise.db").write_bytes(b"no database" * 100)
    told = mlfund("train", *asked, f"sweep.storage=sqlite:///{tmp_path}/noise.db")
    assert told.code == 2 and "noise.db cannot be used: " in told.err
    (tmp_path / "noise.db").unlink()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["optuna", "cmaes"])
def test_a_missing_package_names_the_extra(
    mlfund: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr(
        "importlib.util.find_spec", lambda wanted, *rest: None if wanted == name else find_spec(wanted, *rest)
    )
    told = mlfund(
        "train", *SEARCH, "sweep.space={optim.lr: '0.1,0.2', optim.weight_decay: {low: 0.1, high: 1}}",
        "sweep.sampler=cmaes",
    )  # fmt: skip
    assert told.code == 2
    assert f"needs {name}, which is not installed; pip install 'lit_mlfund[optuna]'" in told.err
    assert list(tmp_path.iterdir()) == []
