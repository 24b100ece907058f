"""A kept frame is the one that was made, and is made anew whenever anything that it depends on is another."""

import os
from pathlib import Path

import polars as pl
import pytest

from lit_mlfund.data import flights
from lit_mlfund.data.kept import FILE, kept_frame

FRAME = pl.DataFrame({"n": [1, None, 3], "word": ["a", "b", None]})


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Maker:
    def __init__(self, folder: Path):
        self.files = [folder / "source.csv", folder / "other.csv"]
        self.code = folder / "maker.py"
        for file in (*self.files, self.code):
            file.write_text(file.name)
        self.calls = 0

    def __call__(self) -> pl.DataFrame:
        self.calls += 1
        return FRAME

    def read(self) -> pl.DataFrame:
        return kept_frame("frame", self.files, str(self.code), self)


def test_made_once(tmp_path, home):
    maker = Maker(tmp_path)
    assert maker.read().equals(FRAME) and maker.read().equals(FRAME)
    assert maker.calls == 1


@pytest.mark.parametrize("change", ["source", "code", "polars", "torn"])
def test_made_anew(tmp_path, home, monkeypatch, change):
    maker = Maker(tmp_path)
    maker.read()
    if change == "source":
        maker.files[1].write_text("a change")
    elif change == "code":
        maker.code.write_text("a change")
    elif change == "polars":
        monkeypatch.setattr(pl, "__version__", "0")
    else:
        os.truncate(next(home.rglob(FILE)), 10)
    assert maker.read().equals(FRAME) and maker.calls == 2
    assert maker.read().equals(FRAME) and maker.calls == 2
    assert len(list(home.rglob(FILE))) == 1  # the one before it is gone


def test_nowhere_to_keep_it(tmp_path, home):
    home.write_text("a file where the folder belongs")
    maker = Maker(tmp_path)
    assert maker.read().equals(FRAME) and maker.read().equals(FRAME)
    assert maker.calls == 2


def test_the_flights(home, monkeypatch):
    first = flights.read_flights()
    monkeypatch.setattr(flights, "_join", lambda: pytest.fail("read a second time"))
    assert flights.read_flights().equals(first)
