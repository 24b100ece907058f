"""Sweepers of other packages: what they are told, the values they receive, and how failed sweeps end."""

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


class TinySweeper(Sweeper):
    """Tries three rates in place of an interval."""

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


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    store, known = ConfigStore.instance(), Plugins.instance().class_name_to_class
    package, module = types.ModuleType("hydra_plugins"), types.ModuleType("hydra_plugins.tiny")
    package.tiny = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.TinySweeper = TinySweeper  # type: ignore[attr-defined]
    monkeypatch.setattr(TinySweeper, "__module__", module.__name__)
    target = f"{module.__name__}.TinySweeper"
    monkeypatch.setitem(known, target, TinySweeper)
    store.store(group="hydra/sweeper", name="tiny", node={"_target_": target, "direction": "minimize"})
    for name in ("directions", "received"):
        monkeypatch.setattr(TinySweeper, name, [])
    yield
    del store.repo["hydra"]["sweeper"]["tiny.yaml"]


def values(*reached: float | None) -> None:
    """Set the values that the jobs reach, one after the other."""
    rest = iter(reached)

    def run(run_dir: Path) -> dict[str, Any]:
        value = next(rest)
        status = "failed" if value is None else "done"
        return {"run": str(run_dir), "status": status, "objective": {"name": "val/auroc", "value": value}}

    sys.modules["lit_mlfund.runs.execution.execute"].behave(run)  # type: ignore[attr-defined]


TINY = "hydra/sweeper=tiny"
RATES = "optim.lr=interval(0.1,1)"


def test_each_of_its_sweeps_is_a_new_one(house: Path, executed: Calls) -> None:
    results = sweep([TINY, RATES], None)
    sweep([TINY, RATES], None)
    assert [result["overrides"] for result in results] == [[f"++optim.lr={rate}"] for rate in (0.1, 0.2, 0.3)]
    assert [load_frozen(folder)["optim"]["lr"] for folder, _ in executed] == [0.1, 0.2, 0.3] * 2
    assert len(list(Path("runs/sweeps").iterdir())) == 2


def test_every_choice_and_both_ends_are_checked(house: Path, executed: Calls) -> None:
    with pytest.raises(ConfigError) as error:
        sweep([TINY, RATES, "loss=bce,mse", "seed=range(-1,5)", "task=binary,regression"], None)
    message = "\n".join(error.value.problems)
    assert "loss: MSE does not fit task=binary" in message
    assert "seed: expected 0 … 4294967295, got -1" in message
    assert "monitor: a sweeper compares one value, not val/auroc, val/rmse" in message
    assert executed == []


def test_value_of_a_failed_job(house: Path, executed: Calls) -> None:
    values(0.7, None, math.nan)
    results = sweep([TINY, RATES], None)
    assert [result["status"] for result in results] == ["done", "failed", "done"]
    assert TinySweeper.received == pytest.approx([0.7, math.nan, math.nan], nan_ok=True)


def test_a_sweeper_that_found_nothing(
    house: Path, executed: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TinySweeper, "error", ValueError("No trials are completed yet."))
    values(None, None, None)
    results = sweep([TINY, RATES], None)
    assert [result["status"] for result in results] == ["failed"] * 3
    assert "the sweeper ended: No trials are completed yet." in capsys.readouterr().err
    values(None, 0.5, None)
    with pytest.raises(ValueError, match="No trials"):  # a defect of its own
        sweep([TINY, RATES], None)


def test_a_sweeper_that_cannot_begin(house: Path, executed: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(sweeper: TinySweeper, arguments: list[str]) -> None:
        raise ValueError("no such storage")

    monkeypatch.setattr(TinySweeper, "sweep", refuse)
    with pytest.raises(ConfigError, match=r"hydra\.sweeper: no such storage"):
        sweep([TINY, RATES], None)


def test_jobs_are_recorded_as_those_of_any_sweep(house: Path, executed: Calls) -> None:
    values(0.1, 0.3, 0.2)
    results = sweep([TINY, RATES, "hydra.sweep.dir=mine"], None)
    assert TinySweeper.directions == ["minimize"]  # as its own configuration says
    recorded = [json.loads(Path("mine", "jobs", f"{number}.json").read_text()) for number in range(3)]
    assert recorded == results
