"""The real command line, in this process (importing torch once) or in one of its own."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lit_mlfund.cli import main

# the references of a task with one target per row
POINT_REFERENCES = {"constant", "linear", "gradient_boosting"}
POINT_REFERENCES |= {"lightgbm"} if importlib.util.find_spec("lightgbm") else set()


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code, both streams, and the JSON object of the last line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out.strip().splitlines()[-1])


Command = Callable[..., Outcome]


@pytest.fixture
def mlfund(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Call `mlfund` with these arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        code = main(list(arguments))
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture
def letor(tmp_path: Path) -> Path:
    """60 queries of 3 to 12 documents; the first feature tells the relevance, the second nothing."""
    generator = np.random.default_rng(0)
    lines = []
    for query in range(60):
        for _ in range(generator.integers(3, 13)):
            relevance = generator.integers(0, 3)
            lines.append(
                f"{relevance} qid:{query} 1:{relevance + generator.normal(0, 0.3):.4f} 2:{generator.normal():.4f}"
            )
    path = tmp_path / "lists.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def interactions(tmp_path: Path) -> Path:
    """80 users of two tastes and 20 items: even users take even items, odd users odd ones."""
    generator = np.random.default_rng(0)
    user = np.repeat(np.arange(80), 15)
    item = 2 * generator.integers(0, 10, len(user)) + user % 2
    time = generator.permutation(len(user))
    frame = pl.DataFrame({"user": [f"u{u}" for u in user], "item": [f"i{i}" for i in item], "time": time})
    path = tmp_path / "interactions.csv"
    frame.write_csv(path)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """900 rows with numbers, a category, a date, missing cells, and a target that they tell."""
    generator = np.random.default_rng(0)
    size = 900
    number, noise = generator.normal(size=size), generator.normal(size=size)
    color = generator.choice(["red", "green", "blue"], size)
    value = 3 * number + 2 * (color == "red") + 0.1 * noise
    frame = pl.DataFrame(
        {
            "number": [None if index % 17 == 0 else x for index, x in enumerate(number)],
            "noise": noise,
            "color": color,
            "day": pl.date_range(
                pl.date(2020, 1, 1), pl.date(2020, 1, 1) + pl.duration(days=size - 1), eager=True
            ),
            "value": value,
            "label": (value > 0.5).astype(int),
            "kind": np.where(value > 2, "high", np.where(value < -1, "low", "middle")),
        }
    )
    path = tmp_path / "table.parquet"
    frame.write_parquet(path)
    return path
