"""`mlfund leaderboard`: the order of the runs, the CSV file, and what the page says."""

from __future__ import annotations

import csv
import json
import math
import random
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lit_mlfund.cli import main
from lit_mlfund.reports.comparison.board import Axis

RATES = ("1e-4", "1e-3", "1e-2")


def write(root: Path, number: int, *given: str, value: float | None, task: str = "binary") -> Path:
    folder = root / "runs" / task / f"20260101-1000{number:02}-{task}-{number:06x}"
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(f"# mlfund train task={task} {' '.join(given)}\nshape: {task}\n")
    (folder / "metrics.json").write_text(json.dumps({"history": [{"epoch": 1, "val/auroc": 0.5}]}))
    entry = {} if value is None else {"auroc": {"value": value, "low": value - 0.1, "high": value + 0.1}}
    result = {
        "status": "done" if value is not None else "failed",
        "objective": {"name": "val/auroc", "value": value},
        "test": entry,
        "findings": ["healthy"],
        "seconds": number,
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """18 runs whose value follows the learning rate, not the seed; one of them failed."""
    monkeypatch.chdir(tmp_path)
    noise = random.Random(0)
    settings = [(rate, seed) for rate in RATES for seed in range(6)]
    values = [0.5 + 0.1 * -math.log10(float(rate)) + noise.gauss(0, 0.002) for rate, _ in settings]
    return [
        write(tmp_path, number, f"optim.lr={rate}", f"seed={seed}", value=None if number == 4 else value)
        for number, ((rate, seed), value) in enumerate(zip(settings, values))
    ]


class Page(HTMLParser):
    """Collects the rows of the first table, the headings and every address."""

    def __init__(self, text: str):
        super().__init__()
        self.rows, self.headings, self.links, self.tag = 0, [], [], ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tag = tag
        self.rows += ("scope", "row") in attributes
        self.links += [value for name, value in attributes if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        if self.tag in ("h1", "h2"):
            self.headings.append(data)
        self.tag = ""


def test_best_first_in_every_output(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs[0] / "report.html").touch()
    assert main(["leaderboard"]) == 0
    shown = capsys.readouterr()
    record: dict[str, Any] = json.loads(shown.out)
    results = {run: json.loads((run / "result.json").read_text())["objective"]["value"] for run in runs}
    expected = sorted(runs, key=lambda run: (results[run] is None, -(results[run] or 0)))
    assert [run["run"] for run in record["runs"]] == [str(run) for run in expected]
    with open(tmp_path / "leaderboard.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == [str(run) for run in expected]
    first = json.loads((expected[0] / "result.json").read_text())
    assert rows[0]["optim.lr"] == "1e-4" and float(rows[0]["test/auroc/low"]) == first["test"]["auroc"]["low"]
    assert rows[-1]["status"] == "failed" and rows[-1]["test/auroc"] == ""
    text = (tmp_path / "leaderboard.html").read_text()
    page = Page(text)
    assert page.links == [f"runs/binary/{runs[0].name}/report.html"] and "http" not in text
    assert page.rows == len(runs) + 2  # and the bars of the two settings
    assert page.headings == [
        "runs",
        "Importance of the settings",
        "All settings",
        "Each setting",
        "Learning curves of the best 8",
    ]
    bars = text[text.index("Importance of the settings") :]
    assert bars.index("optim.lr") < bars.index("seed")


def test_a_sweep_by_a_piece_of_its_name(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = tmp_path / "runs" / "sweeps" / "rates-0a1b2c" / "jobs"
    jobs.mkdir(parents=True)
    for job, run in enumerate([runs[2], runs[9], None]):
        (jobs / f"{job}.json").write_text(
            json.dumps({"run": None if run is None else str(run), "status": "done"})
        )
    assert main(["leaderboard", "rates", "sort=seconds", "output=best.html"]) == 0
    assert [run["run"] for run in json.loads(capsys.readouterr().out)["runs"]] == [str(runs[2]), str(runs[9])]
    page = (tmp_path / "best.html").read_text()
    assert "needs 10 runs" in page and (tmp_path / "best.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere"], "and no sweep in runs has nowhere in its name"),
        (["sort=time"], "sort: a leaderboard needs a value"),
        (["sort=test/acroc"], "did you mean test/auroc?"),
        (["task=ranking"], "task: no run in"),
        (["output=x.csv"], "output: expected a file that ends in .html"),
        (["empty"], "there is no run in"),
    ],
)
def test_mistakes(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["leaderboard", *arguments]) == 2
    assert problem in capsys.readouterr().err
    assert not list(tmp_path.glob("*.html"))


def test_runs_that_monitor_different_values_need_a_choice(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write(tmp_path, 50, value=0.1, task="regression")
    result = json.loads((other / "result.json").read_text())
    result["objective"]["name"] = "val/rmse"
    (other / "result.json").write_text(json.dumps(result))
    assert main(["leaderboard"]) == 2
    assert "sort: the objectives of these runs differ" in capsys.readouterr().err
    assert main(["leaderboard", "task=regression"]) == 0


def test_axes_place_numbers_by_value_or_logarithm_and_words_side_by_side() -> None:
    assert Axis.of(["1e-4", "1e-2", None, "1e-3"]).places == pytest.approx([0, 1, None, 0.5])
    assert Axis.of(["0", "10", "5"]).places == [0, 1, 0.5]
    assert Axis.of(["mlp", "linear", "tabm"]).places == [0.5, 0, 1]
    assert Axis.of(["1", "one", "nan"]).places == [0, 1, 0.5]
    assert Axis.of(["1", "1.0"]).ticks == [(0, "1"), (1, "1.0")]
    assert Axis.of([None, "a"]).places == [None, 0.5]
    many = Axis.of([str(number) for number in range(101)])
    places = [at for at, _ in many.ticks]
    assert many.ticks[0] == (0, "0") and many.ticks[-1] == (1, "100") and len(places) == 5
    # labels do not lie on each other
    assert all(right - left >= 0.2 for left, right in pairwise(places))
