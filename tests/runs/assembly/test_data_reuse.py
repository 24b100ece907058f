"""Tests which data a job of a sweep shares with the one before it."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from omegaconf import OmegaConf

from lit_mlfund.data.serving.mapped import Mapped
from lit_mlfund.datamodules import BreastCancerDataModule, DataModule, TableDataModule
from lit_mlfund.runs.assembly.data_reuse import DataCache, load_data, shared_data


class Own(BreastCancerDataModule):
    """Stands for a data module of another package, of which nothing is known."""


def small(cls: type[BreastCancerDataModule] = BreastCancerDataModule, seed: int = 0) -> DataModule:
    return cls(batch_size=32, seed=seed)


def test_the_last_data_are_cached_and_served_as_configured() -> None:
    cache = DataCache()
    first = cache.load({"split_seed": 0}, small())
    second = cache.load({"split_seed": 0}, small(seed=7))
    assert second is not first
    assert second.stores["train"] is first.stores["train"]
    assert (first.seed, second.seed) == (0, 7)
    second.stores.clear()
    assert cache.load({"split_seed": 0}, small()).stores.keys() == {"train", "val", "test"}
    cache.load({"split_seed": 1}, small())
    assert cache.load({"split_seed": 0}, small()).stores["train"] is not first.stores["train"]


def test_cached_data_are_dropped_before_others_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DataCache()
    cached = weakref.ref(cache.load({"split_seed": 0}, small()).stores["train"])
    build, seen = BreastCancerDataModule.build, []
    monkeypatch.setattr(BreastCancerDataModule, "build", lambda data: (seen.append(cached()), build(data)))
    cache.load({"split_seed": 1}, small())
    assert seen == [None]


def test_data_modules_of_other_packages_load_for_each_run() -> None:
    cache = DataCache()
    first = cache.load({}, small(Own))
    assert cache.last is None
    assert cache.load({}, small(Own)).stores["train"] is not first.stores["train"]


def test_tables_encoded_on_disk_are_not_cached(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    values = np.random.default_rng(0).normal(size=200)
    pl.DataFrame({"x": values, "y": values}).write_csv(path)
    data = TableDataModule(
        batch_size=8, seed=0, task="regression", path=str(path), target="y", cache=str(tmp_path / "cache")
    )
    cache = DataCache()
    cache.load({"path": str(path)}, data)
    assert isinstance(data.stores["train"], Mapped)
    assert cache.last is None


def test_nothing_is_shared_outside_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {
        "_target_": "lit_mlfund.datamodules.BreastCancerDataModule",
        "batch_size": 32,
        "seed": 0,
    }
    config = OmegaConf.create({"data": node})
    with shared_data():
        first, second = load_data(config), load_data(config)
    third = load_data(config)
    assert second.stores["train"] is first.stores["train"]
    assert third.stores["train"] is not first.stores["train"]


def test_values_taken_from_elsewhere_in_the_configuration_count(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"_target_": "lit_mlfund.datamodules.BreastCancerDataModule", "split_seed": "${other}", "seed": 0}
    with shared_data():
        first, again, second = (load_data(OmegaConf.create({"data": node, "other": n})) for n in (1, 1, 2))
    assert again.stores["train"] is first.stores["train"]
    assert second.stores["train"] is not first.stores["train"]
    assert not second.stores["train"].index.equal(first.stores["train"].index)
