"""Cached splits equal those that were made, and are rebuilt whenever anything that they depend on changes."""

import dataclasses
import json
import os
import zlib
from pathlib import Path

import polars as pl
import pytest
import torch

from lit_mlfund.data.disk import split_cache
from lit_mlfund.data.disk.cache import MANIFEST
from lit_mlfund.data.disk.split_cache import FILE, Splits, cached_splits
from lit_mlfund.data.preprocessing.table_encoder import Encoder, Roles
from lit_mlfund.data.reading.table import Table
from lit_mlfund.datamodules import FlightsAirTimeDataModule, FlightsListsDataModule

FRAME = pl.DataFrame({"a": [1.5, None, 3.0, 4.1], "b": ["x", "y", "x", "y"], "y": [0, 1, 1, 0]})


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Maker:
    def __init__(self, folder: Path):
        self.files = [folder / "source.csv", folder / "other.csv"]
        for file in self.files:
            file.write_text(file.name)
        self.options = {"min_count": 1}
        self.calls = 0

    def __call__(self) -> Splits:
        self.calls += 1
        table = Table.of(FRAME, "source.csv")
        encoder = Encoder.fit(table, Roles("binary", "y"), min_count=self.options["min_count"])
        return Splits(encoder, {"train": encoder.store(table)[0]}, {"rows": {"train": 4}})

    def get(self, encoder: Encoder | None = None) -> Splits:
        return cached_splits("table", self.files, self.options, self, encoder)


def same(one: Splits, other: Splits) -> bool:
    first, second = one.stores["train"], other.stores["train"]
    return (
        one.encoder == other.encoder
        and one.summary == other.summary
        and first.x.keys() == second.x.keys()
        and all(torch.equal(first.x[name], second.x[name]) for name in first.x)
        and torch.equal(first.y, second.y)
        and torch.equal(first.index, second.index)
    )


def test_made_once(tmp_path, home):
    maker = Maker(tmp_path)
    first = maker.get()
    assert same(first, maker.get()) and same(first, maker.get())
    assert maker.calls == 1


@pytest.mark.parametrize("change", ["source", "option", "code", "polars", "torn"])
def test_made_anew(tmp_path, home, monkeypatch, change):
    maker = Maker(tmp_path)
    first = maker.get()
    if change == "source":
        maker.files[1].write_text("a change")
    elif change == "option":
        maker.options = {"min_count": 3}
    elif change == "code":
        monkeypatch.setattr(split_cache, "CODE", ("data",))
    elif change == "polars":
        monkeypatch.setattr(pl, "__version__", "0")
    else:
        os.truncate(next(home.rglob(FILE)), 10)
    second = maker.get()
    assert maker.calls == 2 and same(first, second) == (change != "option")
    assert same(maker.get(), second) and maker.calls == 2
    assert len(list(home.rglob(FILE))) == 1  # the one before it is gone


def test_fitted_otherwise(tmp_path, home):
    """A checkpoint's own encoder is never exchanged for another, and splits encoded by it are not cached."""
    maker = Maker(tmp_path)
    first = maker.get()
    assert same(maker.get(first.encoder), first) and maker.calls == 1
    maker.get(dataclasses.replace(first.encoder, per_query="append"))
    assert maker.calls == 2
    assert same(maker.get(), first) and maker.calls == 2


def test_nowhere_to_keep_them(tmp_path, home):
    home.write_text("a file where the folder belongs")
    maker = Maker(tmp_path)
    assert same(maker.get(), maker.get())
    assert maker.calls == 2


@pytest.mark.parametrize("cls", [FlightsAirTimeDataModule, FlightsListsDataModule])
def test_the_flights(home, monkeypatch, cls):
    def loaded():
        data = cls(batch_size=64, seed=0)
        data.setup()
        return data

    first = loaded()
    monkeypatch.setattr("lit_mlfund.datamodules.flights.read_flights", lambda: pytest.fail("read twice"))
    second = loaded()
    assert second.summary == first.summary and second.spec == first.spec
    assert second.fitted == first.fitted and second.preprocessing() == first.preprocessing()
    for split, store in first.stores.items():
        for name in store.__dataclass_fields__:
            one, other = getattr(store, name), getattr(second.stores[split], name)
            one, other = (value if isinstance(value, dict) else {"": value} for value in (one, other))
            assert one.keys() == other.keys()
            for key in one:
                assert one[key] is other[key] is None or torch.equal(one[key], other[key])


def _change(folder, change):
    """Change the saved tensors or the description of a cache, and make its checksums right again."""
    file, manifest_file = folder / FILE, folder / MANIFEST
    saved, manifest = torch.load(file, weights_only=True), json.loads(manifest_file.read_text())
    changed = change(saved, manifest["content"])
    saved = changed if isinstance(changed, (bytes, dict)) else saved
    torch.save(saved, file) if not isinstance(saved, bytes) else file.write_bytes(saved)
    manifest["files"][FILE] = {"size": file.stat().st_size, "crc32": zlib.crc32(file.read_bytes())}
    manifest_file.write_text(json.dumps(manifest))


class Code:
    def __reduce__(self):
        return os.system, ("touch executed",)


POISONS = {
    "code": lambda saved, content: {"train": Code()},
    "no archive": lambda saved, content: b"hello",
    "other names": lambda saved, content: {"train": {"z": 1}},
    "no rows": lambda saved, content: {"train": {name: None for name in saved["train"]}},
    "fewer rows": lambda saved, content: {
        "train": {**saved["train"], "y": saved["train"]["y"][:2]},
    },
    "a column less": lambda saved, content: saved["train"]["x"].update(
        numeric=saved["train"]["x"]["numeric"][:, :0]
    ),
    "codes beyond": lambda saved, content: saved["train"]["x"]["categorical"].fill_(99),
    "targets beyond": lambda saved, content: saved["train"]["y"].fill_(7),
    "no encoder": lambda saved, content: content.pop("encoder") and None,
    "another encoder": lambda saved, content: content.update(encoder={"roles": 3}),
    "no summary": lambda saved, content: content.update(summary=[]),
    "another split": lambda saved, content: content.update(summary={"rows": {"train": 4, "val": 1}}),
}


@pytest.mark.parametrize("poison", POISONS)
def test_a_cache_that_was_not_written_here_is_built_anew(tmp_path, home, monkeypatch, poison):
    """Intact by its own checksums, and yet of no use."""
    monkeypatch.chdir(tmp_path)
    maker = Maker(tmp_path)
    first = maker.get()
    (folder,) = (file.parent for file in home.rglob(MANIFEST))
    _change(folder, POISONS[poison])
    assert same(first, maker.get())
    assert maker.calls == 2
    assert same(first, maker.get())
    assert maker.calls == 2
    _change(folder, POISONS[poison])
    assert same(first, maker.get(first.encoder))
    assert not (tmp_path / "executed").exists()


def test_an_error_of_the_maker_is_its_own(tmp_path, home):
    def fail():
        raise ValueError("the data are wrong")

    maker = Maker(tmp_path)
    with pytest.raises(ValueError, match="the data are wrong"):
        cached_splits("table", maker.files, maker.options, fail)
