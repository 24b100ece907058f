"""A transformed target through the command line: every number is in the target's own unit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from lit_mlfund import load_run
from lit_mlfund.callbacks.checkpoint_file import read_checkpoint
from lit_mlfund.modules import RegressionModule
from tests.system.conftest import Command

QUICK = ("logger=none", "doctor=none", "model.hidden=[16]", "model.num_members=2", "trainer.max_epochs=4")
ASKED = ("train", "task=regression", "data=table", "data.path=tail.parquet", "data.target=y", *QUICK)


@pytest.fixture(autouse=True)
def tail(tmp_path: Path) -> Path:
    """700 rows whose target is the exponential of a line and noise."""
    generator = np.random.default_rng(0)
    a, b, noise = generator.normal(size=(3, 700))
    frame = pl.DataFrame({"a": a, "b": b, "y": 100 * np.exp(1.5 * a - 0.5 * b + 0.7 * noise)})
    frame.write_parquet(tmp_path / "tail.parquet")
    return tmp_path / "tail.parquet"


@pytest.mark.parametrize("kind", ["log", "quantile"])
def test_all_numbers_are_in_the_unit_of_the_target(mlfund: Command, kind: str) -> None:
    outcome = mlfund(*ASKED, f"task.target_transform={kind}", "trainer.max_epochs=15", "optim.lr=0.01")
    assert outcome.code == 0, outcome.err
    result, run = outcome.json, Path(outcome.json["run"])
    assert result["references"]["constant"]["mae"]["value"] > result["test"]["mae"]["value"]
    table = pl.read_parquet(run / "predictions" / "test.parquet")
    y, told = table["target"].to_numpy(), table["prediction"].to_numpy()
    rows = pl.read_parquet("tail.parquet")
    assert y == pytest.approx(rows["y"].to_numpy()[table["row"].to_numpy()], rel=1e-6)
    assert result["test"]["rmse"]["value"] == pytest.approx(root_mean_squared_error(y, told), rel=1e-5)
    assert result["test"]["mae"]["value"] == pytest.approx(mean_absolute_error(y, told), rel=1e-5)
    saved = read_checkpoint(run / "checkpoints" / "best.ckpt")["lit_mlfund"]
    scale = saved["target_scale"]
    assert saved["format"] == 2 and scale["kind"] == kind
    assert (scale["factor"] != 1) == (kind == "log")
    assert f"predictions stay within {scale['low']:.4g} … {scale['high']:.4g}" in " ".join(
        outcome.err.split()
    )
    assert ("smearing factor (Duan 1983)" in " ".join(outcome.err.split())) == (kind == "log")

    measured = mlfund("evaluate", f"run={run}")
    assert measured.json["metrics"]["rmse"]["value"] == pytest.approx(
        result["test"]["rmse"]["value"], rel=1e-6
    )
    far = rows.with_columns(a=pl.col("a") * 40)  # as far as the linear part of a network reaches
    far.write_parquet("far.parquet")
    assert mlfund("predict", f"run={run}", "data.path=far.parquet", "output=far.csv").code == 0
    predicted = pl.read_csv("far.csv")["prediction"]
    assert predicted.min() >= scale["low"] * (1 - 1e-6) and predicted.max() <= scale["high"] * (1 + 1e-6)
    assert mlfund("predict", f"run={run}", "data.path=tail.parquet", "output=all.parquet").code == 0
    everything = pl.read_parquet("all.parquet")["prediction"].to_numpy()[table["row"].to_numpy()]
    assert everything == pytest.approx(told, rel=1e-5)


def test_the_smearing_factor_is_that_of_the_validation_rows(mlfund: Command) -> None:
    outcome = mlfund(*ASKED, "task.target_transform=log", "test=false")
    assert outcome.code == 0, outcome.err
    run = load_run(outcome.json["run"])
    module, data = run.module, run.data
    data.setup("fit")
    val = data.whole("val")
    with torch.inference_mode():
        z = module.model(val.x).double().numpy()
    y, scale = val.y.numpy(), module.scale
    factor = (y.clip(scale.low, scale.high) / np.exp(z * scale.std + scale.mean)).mean()
    assert scale.factor == pytest.approx(factor, rel=1e-3)
    expected = (factor * np.exp(z * scale.std + scale.mean)).clip(scale.low, scale.high)
    assert outcome.json["objective"]["value"] == pytest.approx(root_mean_squared_error(y, expected), rel=1e-4)

    path = Path(outcome.json["run"]) / "checkpoints" / "best.ckpt"
    loaded = RegressionModule.load_from_checkpoint(path, model=module.model).eval()
    assert loaded.scale == scale
    assert torch.equal(loaded(val), module(val))


def test_one_step_at_a_time_is_the_same(mlfund: Command) -> None:
    """The fast path and Lightning's own."""
    weights = []
    for extra in ((), ("trainer.log_every_n_steps=1",)):
        outcome = mlfund(*ASKED, "task.target_transform=log", "references=false", *extra)
        assert outcome.code == 0, outcome.err
        weights.append(read_checkpoint(Path(outcome.json["run"]) / "checkpoints" / "last.ckpt"))
    assert weights[0]["lit_mlfund"]["target_scale"] == weights[1]["lit_mlfund"]["target_scale"]
    for name, value in weights[0]["state_dict"].items():
        assert torch.equal(value, weights[1]["state_dict"][name]), name


def test_with_a_blend(mlfund: Command) -> None:
    outcome = mlfund(*ASKED, "task.target_transform=log", "blend=boosting")
    assert outcome.code == 0, outcome.err
    blend = json.loads((Path(outcome.json["run"]) / "metrics.json").read_text())["blend"]
    assert blend["values"]["1"] != blend["values"]["0"]
    measured = mlfund("evaluate", f"run={outcome.json['run']}")
    assert measured.json["metrics"]["rmse"]["value"] == pytest.approx(
        outcome.json["test"]["rmse"]["value"], rel=1e-5
    )


def test_from_a_cache(mlfund: Command) -> None:
    told = [mlfund(*ASKED, "task.target_transform=log", *extra) for extra in ((), ("data.cache=cache",))]
    assert [outcome.code for outcome in told] == [0, 0], told[1].err
    scales = [
        read_checkpoint(Path(outcome.json["run"]) / "checkpoints" / "best.ckpt")["lit_mlfund"]["target_scale"]
        for outcome in told
    ]
    for name in ("low", "high", "mean", "std"):
        assert scales[0][name] == pytest.approx(scales[1][name], rel=1e-6)


def test_a_negative_target_has_no_logarithm(mlfund: Command, tail: Path) -> None:
    frame = pl.read_parquet(tail).with_columns(
        y=pl.when(pl.int_range(pl.len()) < 600).then("y").otherwise(-2.5)
    )
    frame.with_columns(part=pl.when(pl.int_range(pl.len()) < 650).then(pl.lit("train")).otherwise(
        pl.when(pl.int_range(pl.len()) < 675).then(pl.lit("val")).otherwise(pl.lit("test")))
    ).write_parquet(tail)  # fmt: skip
    outcome = mlfund(*ASKED, "task.target_transform=log", "data.split=part")
    assert outcome.code == 2
    assert (
        "tail.parquet: column 'y': task.target_transform=log needs targets of 0 or more, found -2.5"
        in outcome.err
    )
    assert "rows 601, 602" in outcome.err and "task.target_transform=quantile" in outcome.err
    assert "Traceback" not in outcome.err and not list(Path("runs").glob("*/*"))
    assert mlfund(*ASKED, "task.target_transform=quantile", "data.split=part", "references=false").code == 0


def test_a_long_tail_is_said_and_left(mlfund: Command, tail: Path) -> None:
    outcome = mlfund(*ASKED, "references=false", "test=false", "trainer.max_epochs=1")
    said = " ".join(outcome.err.split())
    assert (
        "target has a long tail (skewness" in said and "task.target_transform=log may fit it better" in said
    )
    saved = read_checkpoint(Path(outcome.json["run"]) / "checkpoints" / "best.ckpt")["lit_mlfund"]
    assert "target_scale" not in saved and saved["format"] == 1
    pl.read_parquet(tail).with_columns(y=pl.col("a") - 1).write_parquet(tail)
    outcome = mlfund(*ASKED, "references=false", "test=false", "trainer.max_epochs=1")
    assert outcome.code == 0 and "long tail" not in outcome.err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("loss=poisson", "task.target_transform=log"), "the logarithm of its prediction"),
        (
            ("task.target_transform=sqrt",),
            "task.target_transform: expected one of none, log, quantile, got sqrt",
        ),
    ],
)
def test_what_cannot_work_is_refused(mlfund: Command, extra: tuple[str, ...], message: str) -> None:
    outcome = mlfund(*ASKED, *extra)
    assert outcome.code == 2 and message in outcome.err, outcome.err
    assert not list(Path("runs").glob("*/*"))
