"""Epochs, batches and rates of a user's table follow its rows; what the user says counts more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from tests.system.conftest import Command, Outcome

QUICK = ("logger=files", "references=false", "model=mlp", "model.hidden=[4]", "test=false")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 2))
    query = np.repeat(np.arange(40), 10)
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": (x[:, 0] > 0).astype(int), "query": query})
    frame.write_parquet(tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def train(mlfund: Command, table: Path, *lines: str) -> tuple[Outcome, dict[str, dict[str, float]]]:
    outcome = mlfund("train", "data=table", f"data.path={table}", "data.target=y", *QUICK, *lines)
    assert outcome.code == 0, outcome.err
    return outcome, yaml.safe_load((Path(outcome.json["run"]) / "run.yaml").read_text())


def values(config: dict[str, dict[str, float]]) -> tuple[float, ...]:
    data, optim, trainer = config["data"], config["optim"], config["trainer"]
    return trainer["max_epochs"], data["batch_size"], optim["lr"], optim["weight_decay"]


def test_the_budget_follows_the_rows_and_is_said(mlfund: Command, table: Path) -> None:
    outcome, config = train(mlfund, table, "task=binary", "data.exclude=[query]")
    assert "\ntrain  288 steps: 32 epochs of 9 batches of 32\n" in outcome.err  # of 280 training rows
    assert values(config) == (32, 32, 2e-3, 3e-4)
    assert mlfund("evaluate", f"run={outcome.json['run']}", "split=val").code == 0
    again = mlfund("train", f"run={outcome.json['run']}")  # repeated with the numbers that it had
    assert again.code == 0 and again.json["objective"] == outcome.json["objective"]


def test_what_the_user_says_counts_more(mlfund: Command, table: Path) -> None:
    lines = ("trainer.max_epochs=2", "data.batch_size=100", "optim.lr=1e-4", "optim.weight_decay=0.5")
    outcome, config = train(mlfund, table, "task=binary", "data.exclude=[query]", *lines)
    assert "\ntrain  6 steps: 2 epochs of 3 batches of 100\n" in outcome.err
    assert values(config) == (2, 100, 1e-4, 0.5)


def test_another_optimizer_has_its_own_rate(mlfund: Command, table: Path) -> None:
    _, config = train(
        mlfund, table, "task=binary", "data.exclude=[query]", "optim=sgd", "trainer.max_epochs=1"
    )
    assert config["optim"]["lr"] == 0.1


def test_lists_of_a_table_train_as_before(mlfund: Command, table: Path) -> None:
    outcome, config = train(mlfund, table, "task=ranking", "data.query=query")
    assert "\ntrain  10 steps: 10 epochs of 1 batch of 256\n" in outcome.err
    assert values(config) == (10, 256, 1e-3, 1e-2)


def test_a_stacked_sweep_has_the_numbers_of_single_runs(mlfund: Command, table: Path) -> None:
    lines = ("task=binary", "data.exclude=[query]", "trainer.max_epochs=2")
    single, config = train(mlfund, table, *lines)
    arguments = ("-m", "data=table", f"data.path={table}", "data.target=y", *QUICK, *lines, "sweep=stacked")
    swept = mlfund("train", *arguments, "seed=0,1")
    assert swept.code == 0, swept.err
    stacked = next(
        path for path in Path("runs/binary").iterdir() if path.name != Path(single.json["run"]).name
    )
    assert values(yaml.safe_load((stacked / "run.yaml").read_text())) == values(config)


def test_a_sweep_of_rates_starts_without_one(mlfund: Command, table: Path) -> None:
    lines = ("task=binary", "data.exclude=[query]", "trainer.max_epochs=1", "sweep=lr", "sweep.minutes=0.01")
    outcome = mlfund("train", "-m", "data=table", f"data.path={table}", "data.target=y", *QUICK, *lines)
    assert outcome.code == 0, outcome.err
    assert "0.003" in outcome.out or "3e-03" in outcome.out
