"""Sweepers of other packages: the direction they search in, the values they receive, and how failed sweeps end."""

from __future__ import annotations

import json
import math
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution.run_folder import load_frozen
from lit_mlfund.sweeps.sweep import sweep

Calls = list[tuple[Path, bool]]


class OptunaSweeper(Sweeper):
    """Tries three rates in place of an interval; it shares only its name and `direction` with the real one."""

    directions: ClassVar[list[str]] = []
    received: ClassVar[list[Any]] = []
    error: ClassVar[Exception | None] = None

    def __init__(self, direction: Any) -> None:
        self.directions.append(direction)

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> None:
        fixed = [line for line in arguments if "interval" not in line]
        for number, rate in enumerate((0.1, 0.2, 0.3)):
            job: Sequence[str] = [*fixed, f"++optim.lr={rate}"]
            self.received += [ended.return_value for ended in self.launcher.launch([job], number)]
        if self.error is not None:
            raise self.error


class OtherSweeper(OptunaSweeper):
    """Stands for an unknown sweeper."""


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    store, known = ConfigStore.instance(), Plugins.instance().class_name_to_class
    package, module = types.ModuleType("hydra_plugins"), types.ModuleType("hydra_plugins.tiny")
    package.tiny = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for cls in (OptunaSweeper, OtherSweeper):
        setattr(module, cls.__name__, cls)
        monkeypatch.setattr(cls, "__module__", module.__name__)
        target = f"{module.__name__}.{cls.__name__}"
        monkeypatch.setitem(known, target, cls)
        node = {"_target_": target, "direction": "minimize"}
        store.store(group="hydra/sweeper", name=cls.__name__.lower(), node=node)
    for name in ("directions", "received"):
        monkeypatch.setattr(OptunaSweeper, name, [])
    yield
    for cls in (OptunaSweeper, OtherSweeper):
        del store.repo["hydra"]["sweeper"][f"{cls.__name__.lower()}.yaml"]


def values(*reached: float | None) -> None:
    """Set the values that the jobs reach, one after the other."""
    rest = iter(reached)

    def run(run_dir: Path) -> dict[str, Any]:
        value = next(rest)
        status = "failed" if value is None else "done"
        return {"run": str(run_dir), "status": status, "objective": {"name": "val/auroc", "value": value}}

    sys.modules["lit_mlfund.runs.execution.execute"].behave(run)  # type: ignore[attr-defined]


OPTUNA, OTHER = "hydra/sweeper=optunasweeper", "hydra/sweeper=othersweeper"
RATES = "optim.lr=interval(0.1,1)"


def test_it_looks_for_what_the_monitor_calls_better(house: Path, executed: Calls) -> None:
    results = sweep([OPTUNA, RATES], None)
    sweep([OPTUNA, RATES, "task=regression"], None)
    sweep([OPTUNA, RATES, "hydra.sweeper.direction=maximize"], None)
    assert OptunaSweeper.directions == ["maximize", "minimize", "maximize"]
    assert [result["overrides"] for result in results] == [[f"++optim.lr={rate}"] for rate in (0.1, 0.2, 0.3)]
    assert [load_frozen(folder)["optim"]["lr"] for folder, _ in executed[:3]] == [0.1, 0.2, 0.3]


def test_searching_for_the_worst_is_a_mistake(house: Path, executed: Calls) -> None:
    with pytest.raises(ConfigError, match="the best val/auroc is found by maximize, got minimize"):
        sweep([OPTUNA, RATES, "hydra.sweeper.direction=minimize"], None)
    with pytest.raises(ConfigError, match="a job returns one value, val/auroc; got maximize, minimize"):
        sweep([OPTUNA, RATES, "hydra.sweeper.direction=[maximize,minimize]"], None)
    assert executed == []
    assert list(Path.cwd().iterdir()) == []


def test_every_choice_and_both_ends_are_checked(house: Path, executed: Calls) -> None:
    with pytest.raises(ConfigError) as error:
        sweep([OTHER, RATES, "loss=bce,mse", "seed=range(-1,5)", "task=binary,regression"], None)
    message = "\n".join(error.value.problems)
    assert "loss: MSE does not fit task=binary" in message
    assert "seed: expected 0 … 4294967295, got -1" in message
    assert "monitor: a sweeper compares one value, not val/auroc, val/rmse" in message
    assert executed == []


def test_value_of_a_failed_job(house: Path, executed: Calls) -> None:
    values(0.7, None, math.nan)
    results = sweep([OPTUNA, RATES], None)
    assert [result["status"] for result in results] == ["done", "failed", "done"]
    assert OptunaSweeper.received == [0.7, None, None]
    OptunaSweeper.received.clear()
    values(0.7, None, 0.8)
    sweep([OTHER, RATES], None)
    assert OptunaSweeper.received == [0.7, pytest.approx(math.nan, nan_ok=True), 0.8]


def test_a_sweeper_that_found_nothing(
    house: Path, executed: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(OptunaSweeper, "error", ValueError("No trials are completed yet."))
    values(None, None, None)
    results = sweep([OPTUNA, RATES], None)
    assert [result["status"] for result in results] == ["failed"] * 3
    assert "the sweeper ended: No trials are completed yet." in capsys.readouterr().err
    values(None, 0.5, None)
    with pytest.raises(ValueError, match="No trials"):  # a defect of its own
        sweep([OPTUNA, RATES], None)


def test_a_sweeper_that_cannot_begin(house: Path, executed: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(sweeper: OptunaSweeper, arguments: list[str]) -> None:
        raise ValueError("no such storage")

    monkeypatch.setattr(OptunaSweeper, "sweep", refuse)
    with pytest.raises(ConfigError, match=r"hydra\.sweeper: no such storage"):
        sweep([OPTUNA, RATES], None)


def test_jobs_are_recorded_as_those_of_any_sweep(house: Path, executed: Calls) -> None:
    values(0.1, 0.3, 0.2)
    results = sweep([OTHER, RATES, "hydra.sweep.dir=mine"], None)
    assert OptunaSweeper.directions == [
        "minimize"
    ]  # as its own configuration says: only Optuna is told another one
    recorded = [json.loads(Path("mine", "jobs", f"{number}.json").read_text()) for number in range(3)]
    assert recorded == results
