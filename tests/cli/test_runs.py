"""`mlfund runs`: which runs it shows in which order, what it skips, and how few files it opens for that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lit_mlfund.cli import main

Run = Callable[..., tuple[int, dict[str, Any], str]]
SECONDS = 10.0


@pytest.fixture
def listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call `mlfund runs` where the runs are; return the exit code, the line of JSON, and what people read."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, columns: int = 0) -> tuple[int, dict[str, Any], str]:
        monkeypatch.setenv("COLUMNS", str(columns) if columns else "")
        code = main(["runs", *arguments])
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if shown.out else {}, shown.err

    return run


def write(
    root: Path,
    number: int,
    *given: str,
    task: str = "binary",
    auroc: float = 0.5,
    status: str = "done",
    comment: str = "",
) -> Path:
    """Write the folder of a run that was started in minute `number` of a day."""
    folder = root / "runs" / task / f"20260101-{number // 60:02}{number % 60:02}00-{task}-{number:06x}"
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(
        f"# mlfund train task={task} {' '.join(given)}\n{comment}shape: {task}\n"
    )
    result = {
        "run": str(folder),
        "status": status,
        "objective": {"name": "val/auroc", "value": auroc + 0.01 if status == "done" else None},
        "test": {"auroc": {"value": auroc, "low": auroc - 0.1, "high": auroc + 0.1}}
        if status == "done"
        else {},
        "references": {},
        "findings": ["healthy"],
        "seconds": SECONDS * (number + 1),
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def names(record: dict[str, Any]) -> list[int]:
    return [int(run["run"].rpartition("-")[2], 16) for run in record["runs"]]


@contextmanager
def counted_files(root: Path) -> Iterator[list[str]]:
    """Count the files below `root` that are opened; audit hooks stay, so this one is told to rest."""
    opened: list[str] = []
    active = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if active and event == "open" and str(arguments[0]).startswith(str(root)):
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    try:
        yield opened
    finally:
        active = False


def test_newest_first_with_what_was_given(listed: Run, tmp_path: Path) -> None:
    for number, rate in enumerate((0.1, 0.2, 0.3)):
        write(tmp_path, number, "data=breast_cancer", f"optim.lr={rate}", auroc=rate)
    code, record, text = listed("last=2")
    assert code == 0 and names(record) == [2, 1] and record["total"] == 3
    assert record["runs"][0] == {
        "run": str(tmp_path / "runs/binary/20260101-000200-binary-000002"),
        "task": "binary",
        "status": "done",
        "given": ["task=binary", "data=breast_cancer", "optim.lr=0.3"],
        "objective": {"name": "val/auroc", "value": 0.31},
        "test": {"auroc": {"value": 0.3, "low": 0.3 - 0.1, "high": 0.4}},
        "seconds": 30.0,
        "findings": ["healthy"],
    }
    lines = text.splitlines()
    assert lines[0] == "all were given task=binary data=breast_cancer"
    header = "run given test/auroc status 95 % interval val/auroc seconds findings started"
    assert lines[1].split() == header.split()
    assert lines[3].split()[:4] == ["binary-000002", "optim.lr=0.3", "0.3", "done"]
    assert lines[3].endswith("0.2 … 0.4       0.31       30   healthy  01-01 00:02")
    assert lines[-1] == f"2 of 3 runs (last=all shows all) in {tmp_path}/runs"


def test_narrow_terminals_keep_what_matters(listed: Run, tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path, number, f"optim.lr=0.{number}", f"a_long_option={number}" + 80 * "x")
    for columns in (60, 80):
        _, _, text = listed(columns=columns)
        assert max(map(len, text.splitlines()[:-1])) <= columns  # the last one is the folder
        assert "run" in text and "status" in text and "test/auroc" in text


def test_sorted_by_a_metric_the_best_first(listed: Run, tmp_path: Path) -> None:
    for number, value in enumerate((0.3, 0.9, 0.6)):
        write(tmp_path, number, auroc=value)
    write(tmp_path, 3, status="failed")
    assert names(listed("sort=test/auroc")[1]) == [1, 2, 0, 3]
    assert names(listed("sort=val/auroc", "last=1")[1]) == [1]
    assert names(listed("sort=objective", "last=1")[1]) == [1]
    assert names(listed("sort=seconds", "last=2")[1]) == [0, 1]
    folder = write(tmp_path, 4, auroc=0.1)
    result = json.loads((folder / "result.json").read_text())
    result["test"]["log_loss"] = {"value": 0.2, "low": 0.1, "high": 0.3}
    (folder / "result.json").write_text(json.dumps(result))
    other = write(tmp_path, 5, auroc=0.1)
    result["test"]["log_loss"]["value"] = 0.1
    (other / "result.json").write_text(json.dumps(result))
    assert names(listed("sort=test/log_loss", "last=2")[1]) == [5, 4]


def test_metrics_of_a_task_of_your_own_are_sorted_as_it_monitored_them(listed: Run, tmp_path: Path) -> None:
    for number, value in enumerate((0.3, 0.9)):
        folder = write(tmp_path, number, task="mine")
        result = json.loads((folder / "result.json").read_text())
        result["objective"] = {"name": "val/gain", "value": value}
        (folder / "result.json").write_text(json.dumps(result))
    assert names(listed("sort=val/gain")[1]) == [0, 1]
    for folder in (tmp_path / "runs" / "mine").iterdir():
        (folder / "metrics.json").write_text(json.dumps({"objective": {"name": "val/gain", "mode": "max"}}))
    assert names(listed("sort=val/gain")[1]) == [1, 0]


def test_runs_of_one_task(listed: Run, tmp_path: Path) -> None:
    write(tmp_path, 0)
    write(tmp_path, 1, task="regression")
    assert names(listed("task=binary")[1]) == [0]
    assert names(listed("runs/regression")[1]) == [1]
    code, _, text = listed("task=binry")
    assert code == 2 and "no run in" in text and "did you mean binary?" in text


def test_means_over_seeds(listed: Run, tmp_path: Path) -> None:
    for number, (seed, rate, value) in enumerate(
        ((0, 0.1, 0.5), (1, 0.1, 0.7), (2, 0.1, 0.6), (0, 0.2, 0.9), (1, 0.2, 0.8))
    ):
        write(tmp_path, number, f"optim.lr={rate}", f"seed={seed}", auroc=value)
    write(tmp_path, 9, "optim.lr=0.2", "seed=7", status="failed")
    code, record, text = listed("over=seed", "sort=test/auroc")
    high, low = record["groups"]
    assert code == 0
    assert high["given"] == ["task=binary", "optim.lr=0.2"] and len(high["runs"]) == 3
    assert high["test"]["auroc"] == pytest.approx({"mean": 0.85, "deviation": 0.5**0.5 / 10, "runs": 2})
    assert low["test"]["auroc"] == pytest.approx({"mean": 0.6, "deviation": 0.1, "runs": 3})
    assert low["objective"]["mean"] == pytest.approx(0.61)
    assert "0.85 ± 0.071" in text and "0.6 ± 0.1" in text and "2 done, 1 failed" in text
    assert listed("over=sed")[0] == 2


def test_a_job_of_a_sweep_shows_its_own_overrides(listed: Run, tmp_path: Path) -> None:
    write(
        tmp_path,
        0,
        "-m",
        "seed=0,1",
        "name='two words'",
        comment="# job: task=binary seed=1 'name=two words'\n",
    )
    write(
        tmp_path,
        1,
        "-m",
        "seed=0,1",
        "--config-dir",
        "mine",
        comment="# by the number of training rows: a=1\n",
    )
    given = [run["given"] for run in listed()[1]["runs"]]
    assert given == [["task=binary", "seed=0,1"], ["task=binary", "seed=1", "name=two words"]]


def test_foreign_and_damaged_folders_are_skipped_with_a_count(listed: Run, tmp_path: Path) -> None:
    good = write(tmp_path, 0)
    for number, text in enumerate(("", "{", "[]", '{"status": "done"}', "nul", '{"a": ' * 9999)):
        (write(tmp_path, number + 1) / "result.json").write_text(text)
    (tmp_path / "runs" / "notes" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "notes" / "old" / "x.txt").touch()
    (good.parent / "20260101-120000-binary-aa" / "checkpoints").mkdir(parents=True)
    (good.parent / ".20260101-120000-binary-bb").mkdir()
    (tmp_path / "runs" / "sweeps" / "one" / "jobs").mkdir(parents=True)
    (tmp_path / "runs" / "lr_find" / "one").mkdir(parents=True)
    unfinished = write(tmp_path, 20)
    (unfinished / "result.json").unlink()
    code, record, text = listed()
    assert code == 0 and names(record) == [20, 0] and record["total"] == 2
    assert [run["status"] for run in record["runs"]] == ["unfinished", "done"]
    assert len(record["skipped"]) == 8
    assert "skipped: 8 folders are no runs or damaged: binary/" in text and "and 5 more" in text


def test_what_is_no_number_is_a_hole(listed: Run, tmp_path: Path) -> None:
    folder = write(tmp_path, 0)
    result = json.loads((folder / "result.json").read_text())
    result |= {
        "test": {"auroc": {"value": "<b>", "low": None, "high": True}},
        "seconds": "x",
        "findings": [1],
    }
    (folder / "result.json").write_text(json.dumps(result))
    code, record, text = listed("sort=time")
    assert code == 0 and record["runs"][0]["test"] == {"auroc": {}} and record["runs"][0]["seconds"] is None
    assert text.splitlines()[2].split()[:4] == ["binary-000000", "–", "–", "done"]


def test_a_run_at_work_is_running(listed: Run, tmp_path: Path) -> None:
    from lit_mlfund.runs.execution.lock import run_lock

    folder = write(tmp_path, 0)
    (folder / "result.json").unlink()
    with run_lock(folder):
        assert listed()[1]["runs"][0]["status"] == "running"
    assert listed()[1]["runs"][0]["status"] == "unfinished"


def test_ten_thousand_runs_open_only_what_is_shown(listed: Run, tmp_path: Path) -> None:
    template = write(tmp_path, 0, "seed=1")
    for number in range(1, 1000):
        folder = template.parent / f"20260101-000000-binary-{number:06x}"
        folder.mkdir()
        for name in ("run.yaml", "result.json"):
            os.link(template / name, folder / name)
    with counted_files(tmp_path) as opened:
        code, record, _ = listed()
    assert code == 0 and record["total"] == 1000 and len(record["runs"]) == 20
    assert len(opened) == 2 * 20
    with counted_files(tmp_path) as opened:
        listed("sort=test/auroc", "last=5")
    assert len(opened) == 1000 + 5


def test_torch_is_not_imported(tmp_path: Path) -> None:
    write(tmp_path, 0)
    code = (
        "import sys; from lit_mlfund.cli import main; main(['runs']); "
        "print([name for name in ('torch', 'hydra', 'omegaconf', 'lightning', 'sklearn') if name in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert told.stdout.splitlines()[-1] == "[]"


def test_nothing_to_list(listed: Run, tmp_path: Path) -> None:
    code, _, text = listed()
    assert code == 2 and f"there is no folder {tmp_path}/runs" in text
    (tmp_path / "runs").mkdir()
    code, record, text = listed()
    assert code == 0 and record["runs"] == [] and text == f"0 runs in {tmp_path}/runs\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["last=0"], "last: expected a number of runs or all, got 0"),
        (["last=-1"], "last: expected a number of runs or all, got -1"),
        (["sort=test/acuroc"], "sort: no run has test/acuroc; did you mean test/auroc?"),
        (["srt=time"], "srt: unknown; did you mean sort?"),
        (["runs", "runs/binary"], "one folder at a time, got runs runs/binary"),
    ],
)
def test_mistakes(listed: Run, tmp_path: Path, arguments: list[str], problem: str) -> None:
    write(tmp_path, 0)
    code, record, text = listed(*arguments)
    assert code == 2 and record == {} and problem in text
