"""What a person sees on a terminal, and what a program reads from a pipe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.system.conftest import Command
from tests.system.terminal import Seen, on_terminal, screen

COLUMN = re.compile(r"^(auroc|average_precision|log_loss|brier|accuracy|ece)  ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of 300 rows, which two columns tell."""
    generator, path = np.random.default_rng(0), tmp_path_factory.mktemp("terminal")
    a, b = generator.normal(size=(2, 300))
    pl.DataFrame({"a": a, "b": b, "y": (a + b > 0).astype(int)}).write_csv(path / "t.csv")
    return path


TRAIN = ("train", "task=binary", "data=table", "data.path=t.csv", "data.target=y", "model=mlp")
TRAIN += (
    "trainer.max_epochs=40",
    "data.batch_size=16",
    "optim.lr=0.1",
    "callbacks.early_stopping.patience=2",
)


@pytest.fixture(scope="module")
def trained(folder: Path) -> Seen:
    """A training on a terminal of 80 columns."""
    return on_terminal(folder, *TRAIN, width=80)


def run_of(folder: Path) -> Path:
    (file,) = folder.glob("runs/binary/*/result.json")
    return file.parent


def test_a_training(folder: Path, trained: Seen) -> None:
    assert trained.code == 0, trained.raw
    run = run_of(folder)
    result = json.loads((run / "result.json").read_text())
    order = [
        "reading t.csv …",
        "binary  train 210",
        "training …",
        "steps/s",
        "stopped: ",
        "measuring …",
    ]
    places = [trained.raw.index(text) for text in [*order, "if calibrated"]]
    assert places == sorted(places)
    assert not [
        line for line in trained.lines if line.startswith(("reading", "training", "measuring", "reference "))
    ]
    assert not any(line.startswith("{") for line in trained.lines)
    assert max(map(len, trained.lines)) <= 80
    table = [line for line in trained.lines if COLUMN.match(line)]
    assert len(table) == 6
    assert "ece_null" not in "\n".join(trained.lines) and "ece_null" in result["test"]
    shown = run.relative_to(folder)
    assert trained.lines[-4:] == [
        f"report: {shown}/report.html",
        f"mlfund predict run={shown} data.path=FILE",
        f"tensorboard --logdir {shown}/tensorboard",
        "",
    ]
    history = json.loads((run / "metrics.json").read_text())["history"]
    best = min(history, key=lambda entry: entry["val/log_loss"])
    assert result["stopped"] == (
        f"no better val/log_loss for 2 validations; best {best['val/log_loss']:.4g} "
        f"at epoch {best['epoch']:.0f} of {len(history)}"
    )
    assert history[-1]["epoch"] == best["epoch"] + 2 < 40
    assert f"stopped: {result['stopped']}" in " ".join(trained.lines)
    assert "\x1b[1m" in trained.raw  # the header of the table in bold


@pytest.mark.parametrize("width", [60, 20])
def test_narrow_terminals(folder: Path, trained: Seen, width: int) -> None:
    seen = on_terminal(folder, "train", f"run={run_of(folder)}", "runs_dir=again", width=width)
    assert seen.code == 0, seen.raw
    table = [line for line in seen.lines if COLUMN.match(line)]
    assert [line.split()[0].rstrip("…") for line in table[:1]] == ["auroc"]
    head = next(number for number, line in enumerate(seen.lines) if line.startswith("──"))
    rows = seen.lines[head : head + 8]
    assert [bool(line) for line in rows] == [True] * 8
    assert width == 60 or rows[-1] == "+4 in the report"  # of five columns behind the names
    assert re.fullmatch(r"\+\d in the report", rows[-1 if rows[-1].startswith("+") else -2]), rows
    assert max(map(len, rows)) <= width
    epochs = [line for line in seen.lines if re.match(r"epoch \d+/40", line)]
    assert len(epochs) >= 3 and [int(line.split("/")[0][6:]) for line in epochs] == list(
        range(1, len(epochs) + 1)
    )


def test_the_result_for_a_program(folder: Path, trained: Seen) -> None:
    """Through a pipe standard output is the line alone, and the terminal shows what it shows otherwise."""
    run = run_of(folder)
    piped = on_terminal(folder, "evaluate", f"run={run}", pipe=True)
    (line,) = piped.out.splitlines()
    assert json.loads(line)["rows"] == 45
    shown = on_terminal(folder, "evaluate", f"run={run}")
    assert shown.out == "" and not any(line.startswith("{") for line in shown.lines)
    assert shown.lines == piped.lines
    asked = on_terminal(folder, "evaluate", f"run={run}", "--json")
    start = asked.raw.index('{"run"')
    assert json.loads(asked.raw[start:].splitlines()[0]) == json.loads(line)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_bold_where_it_is_not_wanted(folder: Path, trained: Seen, environment: dict[str, str]) -> None:
    seen = on_terminal(folder, "doctor", f"run={run_of(folder)}", **environment)
    assert seen.code == 0
    assert not re.search(r"\x1b\[[0-9;]*m", seen.raw)
    if "TERM" in environment:
        assert "\x1b" not in seen.raw
    plain = on_terminal(folder, "doctor", f"run={run_of(folder)}")
    assert re.search(r"\x1b\[[0-9;]*m", plain.raw)
    assert [line for line in plain.lines if "reading" not in line] == [
        line for line in seen.lines if "reading" not in line
    ]


def test_predictions_in_a_table(folder: Path, trained: Seen) -> None:
    seen = on_terminal(folder, "predict", f"run={run_of(folder)}", "data.path=t.csv", width=60)
    assert seen.code == 0, seen.raw
    assert seen.lines[0] == "predictions.parquet  300 rows"
    frame = pl.read_parquet(folder / "predictions.parquet")
    head = next(number for number, line in enumerate(seen.lines) if line.startswith("──"))
    assert seen.lines[head - 1].split()[:2] == frame.columns[3:] == ["prediction", "probability"]
    assert [line.split()[:2] for line in seen.lines[head + 1 : head + 6]] == [
        [label, f"{value:.4g}"] for label, value in frame[:, 3:].head(5).iter_rows()
    ]


def test_a_terminal_in_ascii(folder: Path, trained: Seen) -> None:
    seen = on_terminal(folder, "evaluate", f"run={run_of(folder)}", width=60, PYTHONIOENCODING="ascii")
    assert seen.code == 0 and seen.raw.isascii()
    head = next(number for number, line in enumerate(seen.lines) if line.startswith("--"))
    assert (
        len({len(line) for line in seen.lines[head - 1 : head + 7]}) == 1
    )  # aligned, with "..." in each row


def test_quiet_and_verbose(mlfund: Command, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = ("train", "task=binary", "data=breast_cancer", "model=linear", "references=false", "logger=none")
    words += ("trainer.max_epochs=1",)
    quiet = mlfund(*words, "-q")
    assert quiet.code == 0 and quiet.err == ""
    assert quiet.json["status"] == "done" and quiet.out.count("\n") == 1
    verbose = mlfund(*words, "--verbose")
    assert verbose.code == 0 and "`Trainer.fit` stopped: `max_epochs=1` reached." in verbose.err + caplog.text
    assert "Trainer.fit" not in mlfund(*words).err
    both = mlfund(*words, "-q", "-v")
    assert both.code == 2 and "--quiet: says less, --verbose more" in both.err


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("trainer.max_steps=7", r"trainer\.max_steps=7"),
        ("trainer.max_time=00:00:00:01", r"trainer\.max_time=00:00:00:01"),
    ],
)
def test_limits_are_told(mlfund: Command, limit: str, told: str) -> None:
    words = ("train", "task=binary", "data=breast_cancer", "model=linear", "references=false", "logger=none")
    ended = mlfund(*words, "trainer.max_epochs=100000", "callbacks=none", limit)
    assert ended.code == 0, ended.err
    assert re.fullmatch(rf"{told}; best \S+ at epoch \d+ of \d+", ended.json["stopped"])
    assert f"\nstopped: {ended.json['stopped']}\n" in ended.err
    if "steps" in limit:
        assert "stopped" not in mlfund(*words, "trainer.max_epochs=1", "callbacks=none").json


def test_what_the_screen_shows() -> None:
    assert screen("a\r\x1b[2Kbc\x1b[1md\x1b[0m\r\nabcdef", 4) == ["bcd", "abcd", "ef"]
