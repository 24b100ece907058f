"""`mlfund decompose`: parts that sum to the total, a picture, and messages about what cannot be decomposed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.system.conftest import Command

SMALL = ("data=breast_cancer", "model=linear", "trainer.max_epochs=2", "decompose.replicas=4")


@pytest.fixture
def sine(tmp_path: Path) -> Path:
    """1,280 rows of sin 2πx with noise of variance .09: 768 for training, 384 for the test."""
    generator = np.random.default_rng(0)
    x = generator.random(1280)
    y = np.sin(2 * np.pi * x) + 0.3 * generator.standard_normal(1280)
    pl.DataFrame({"x": x, "y": y}).write_parquet(tmp_path / "sine.parquet")
    return tmp_path / "sine.parquet"


def test_bias_and_variance_of_a_line_through_a_sine(mlfund: Command, sine: Path, tmp_path: Path) -> None:
    """The best line has a squared bias of .196; its variance over 64 random rows is simulated by least squares."""
    told = mlfund(
        *("decompose", "task=regression", "data=table", f"data.path={sine}", "data.target=y", "model=linear"),
        *("data.val_fraction=0.1", "data.test_fraction=0.3", "data.batch_size=64", "trainer.max_epochs=60"),
        *("optim.lr=0.2", "optim.weight_decay=0", "checkpoint=last", "callbacks=none"),
        *("decompose.replicas=12", "decompose.noise=0.09"),
    )
    assert told.code == 0, told.err
    [point] = told.json["points"]
    assert point["rows"] == {"train": 768, "replica": 64, "left_over": 0, "test": 384}
    assert (point["stacked"], point["replicas"], point["initialisations"]) == (True, 12, 2)
    parts = point["losses"]["squared_error"]
    assert parts["noise"]["value"] == 0.09
    assert parts["bias"]["low"] < 0.196 < parts["bias"]["high"]
    assert parts["bias"]["value"] == pytest.approx(0.196, abs=0.05)
    generator = np.random.default_rng(1)
    grid = (np.arange(100) + 0.5) / 100
    lines = []
    for x in generator.random((2000, 64)):
        y = np.sin(2 * np.pi * x) + 0.3 * generator.standard_normal(64)
        lines.append(np.polyval(np.polyfit(x, y, 1), grid))
    expected = np.var(lines, axis=0).mean()
    assert parts["variance"]["low"] < expected < parts["variance"]["high"]
    assert parts["variance_initialisation"]["value"] < 0.1 * expected  # a convex loss has one solution
    total = parts["noise"]["value"] + parts["bias"]["value"] + parts["variance"]["value"]
    assert total == pytest.approx(parts["total"]["value"], abs=1e-9)
    folder = Path(told.json["decomposition"])
    assert folder.parent == tmp_path / "runs" / "decompositions"
    assert json.loads((folder / "result.json").read_text())["points"] == told.json["points"]
    assert "the results are those of training on 64 rows" in told.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["decompositions"]  # no run was made


def test_each_value_of_one_key(mlfund: Command) -> None:
    told = mlfund("decompose", "task=binary", *SMALL, "decompose.sweep=optim.lr", "optim.lr=1e-3,1e-1")
    assert told.code == 0, told.err
    assert [point["value"] for point in told.json["points"]] == ["0.001", "0.1"]
    slow, fast = (point["losses"]["cross_entropy"]["total"]["value"] for point in told.json["points"])
    assert fast < slow
    assert Path(told.json["picture"]).read_bytes().startswith(b"\x89PNG")
    assert "optim.lr" in told.err and "noise + bias" in told.err


def test_ranking_is_decomposed_by_query(mlfund: Command, letor: Path) -> None:
    told = mlfund(
        *("decompose", "task=ranking", "data=letor", f"data.path={letor}", "trainer.max_epochs=1"),
        *("decompose.replicas=3", "decompose.initialisations=1"),
    )
    assert told.code == 0, told.err
    [point] = told.json["points"]
    assert not point["stacked"] and "one after another (model: " in told.err
    assert set(point["losses"]) == {"listnet", "pairwise"}
    parts = point["losses"]["listnet"]
    assert parts["variance_data"] is None and parts["noise"]["value"] > 0
    total = parts["noise"]["value"] + parts["bias"]["value"] + parts["variance"]["value"]
    assert total == pytest.approx(parts["total"]["value"], abs=1e-9)


def test_a_replica_that_diverges_is_a_failure(mlfund: Command) -> None:
    told = mlfund(
        *("decompose", "task=regression", "data=diabetes", "model=linear", "trainer.max_epochs=30"),
        *("decompose.replicas=3", "optim=sgd", "optim.lr=1e30", "trainer.gradient_clip_val=null"),
    )
    assert told.code == 3
    assert told.json["status"] == "failed" and "lower optim.lr" in told.json["reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("task=retrieval",), "task: retrieval has no decomposition into bias and variance"),
        (("decompose.replicas=1",), "decompose.replicas must be at least 2, got 1"),
        (("decompose.replica=3",), "decompose.replica: unknown; did you mean replicas?"),
        (
            ("task=regression", "data=diabetes", "decompose.replicas=31"),
            "31 disjoint parts of 309 training rows have 9 each, at least 10 are needed; at most 30 are possible",
        ),
        (("task=binary", "seed=0,1"), "seed: has several values; decompose.sweep=seed decomposes each"),
        (
            ("task=binary", "decompose.sweep=model.hidden"),
            "decompose.sweep: give the values of model.hidden as in a multirun",
        ),
        (("task=multiclass", "decompose.noise=0.1"), "decompose.noise: is for regression and binary tasks"),
        (("task=binary", "data=breast_cancer", "decompose.noise=0.6"), "is below 0.5, got 0.6"),
        (("run=some/run",), "run: is for train; decompose takes the options of the run instead"),
        (("-m", "task=binary"), "decompose: several values are given with decompose.sweep=KEY"),
        (("decompose=null",), "decompose: choose one of its options"),
        (("train=false", "trainer.devices=2"), "trainer.devices: decompose trains in one process"),
        (("optim.lr=auto",), "optim.lr: decompose needs a number; mlfund lr-find finds one"),
    ],
)
def test_what_cannot_be_decomposed_is_told(
    mlfund: Command, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    told = mlfund("decompose", *arguments)
    assert told.code == 2
    assert message in told.err
    assert "Traceback" not in told.err
    assert not list(tmp_path.iterdir())


def test_a_training_has_no_decomposition(mlfund: Command) -> None:
    for override in ("decompose=default", "decompose.replicas=3"):
        told = mlfund("train", "task=binary", override)
        assert told.code == 2
        assert told.err == "mlfund: decompose: is what mlfund decompose does; leave it out\n"
