"""Which data a job of a sweep may take from the one before it."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from omegaconf import OmegaConf

from lit_mlfund.data.serving.mapped import Mapped
from lit_mlfund.datamodules import BreastCancerDataModule, DataModule, TableDataModule
from lit_mlfund.runs.assembly.data_reuse import LoadedOnce, load_data, loading_once


class Own(BreastCancerDataModule):
    """Of another package; who knows what it reads."""


def small(cls: type[BreastCancerDataModule] = BreastCancerDataModule, seed: int = 0) -> DataModule:
    return cls(batch_size=32, seed=seed)


def test_one_is_kept_and_served_as_asked() -> None:
    once = LoadedOnce()
    first = once.load({"split_seed": 0}, small())
    second = once.load({"split_seed": 0}, small(seed=7))
    assert second is not first
    assert second.stores["train"] is first.stores["train"]
    assert (first.seed, second.seed) == (0, 7)
    second.stores.clear()
    assert once.load({"split_seed": 0}, small()).stores.keys() == {"train", "val", "test"}
    once.load({"split_seed": 1}, small())
    assert once.load({"split_seed": 0}, small()).stores["train"] is not first.stores["train"]


def test_the_kept_one_is_gone_before_another_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    once = LoadedOnce()
    kept = weakref.ref(once.load({"split_seed": 0}, small()).stores["train"])
    build, seen = BreastCancerDataModule.build, []
    monkeypatch.setattr(BreastCancerDataModule, "build", lambda data: (seen.append(kept()), build(data)))
    once.load({"split_seed": 1}, small())
    assert seen == [None]


def test_data_modules_of_other_packages_load_for_each_run() -> None:
    once = LoadedOnce()
    first = once.load({}, small(Own))
    assert once.last is None
    assert once.load({}, small(Own)).stores["train"] is not first.stores["train"]


def test_what_is_on_the_disk_in_encoded_form_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    values = np.random.default_rng(0).normal(size=200)
    pl.DataFrame({"x": values, "y": values}).write_csv(path)
    data = TableDataModule(
        batch_size=8, seed=0, task="regression", path=str(path), target="y", cache=str(tmp_path / "cache")
    )
    once = LoadedOnce()
    once.load({"path": str(path)}, data)
    assert isinstance(data.stores["train"], Mapped)
    assert once.last is None


def test_nothing_is_shared_outside_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {
        "_target_": "lit_mlfund.datamodules.BreastCancerDataModule",
        "batch_size": 32,
        "seed": 0,
    }
    config = OmegaConf.create({"data": node})
    with loading_once():
        first, second = load_data(config), load_data(config)
    third = load_data(config)
    assert second.stores["train"] is first.stores["train"]
    assert third.stores["train"] is not first.stores["train"]
