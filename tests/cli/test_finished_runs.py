"""`mlfund evaluate` and `mlfund predict`: the arguments, with the work itself replaced."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from lit_mlfund.cli import main


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run, and stand-ins that return their arguments."""
    module = types.ModuleType("lit_mlfund.runs.execution.finished_run")

    class Run:
        def __init__(self, folder: Path, checkpoint: str, trust: list[str]):
            self.opened = {"run": str(folder), "checkpoint": checkpoint} | ({"trust": trust} if trust else {})

        def evaluate(self, path: str | None, **options: str) -> dict[str, Any]:
            return {**self.opened, "path": path, **options}

        def predict_to(self, path: str, output: str) -> dict[str, Any]:
            return {**self.opened, "path": path, "output": output}

    module.Run = Run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    run_dir = tmp_path / "run"
    (run_dir / "checkpoints").mkdir(parents=True)
    (run_dir / "run.yaml").write_text("{}")
    (run_dir / "checkpoints" / "best.ckpt").touch()
    (tmp_path / "new.csv").touch()
    monkeypatch.chdir(tmp_path)
    return run_dir


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_evaluate(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "run=run"]) == 0
    assert printed(capsys) == {"run": str(finished), "split": "test", "path": None, "checkpoint": "best"}
    assert main(["evaluate", f"run={finished}", "split=val"]) == 0
    assert printed(capsys)["split"] == "val"
    assert main(["evaluate", "run=run", "data.path=new.csv"]) == 0
    assert printed(capsys)["path"] == str(finished.parent / "new.csv")
    assert main(["evaluate", "--trust", "one", "run=run", "--trust=two.losses"]) == 0
    assert printed(capsys)["trust"] == ["one", "two.losses"]


def test_predict(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "run=run", "data.path=new.csv"]) == 0
    assert printed(capsys) == {
        "run": str(finished),
        "path": str(finished.parent / "new.csv"),
        "output": str(finished.parent / "predictions.parquet"),
        "checkpoint": "best",
    }
    assert main(["predict", "run=run", "data.path=new.csv", "output=run/p.csv"]) == 0
    assert printed(capsys)["output"] == str(finished / "p.csv")


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (["evaluate"], ["run is required: pass run=<folder of a finished run>"]),
        (["evaluate", "run=run", "splt=val"], ["splt: unknown; did you mean split?"]),
        (["evaluate", "run=run", "split"], ["split: expected split=…"]),
        (["evaluate", "run=run", "run=run"], ["run is given twice"]),
        (["evaluate", "run=run", "split=train"], ["split: expected val or test, got train"]),
        (["evaluate", "run=run", "split=val", "data.path=new.csv"], ["give split= or data.path=, not both"]),
        (["evaluate", "run=run", "--trust"], ["--trust: expected the name of a package, got nothing"]),
        (["predict", "--trust=a-b", "run=run"], ["--trust: expected the name of a package, got a-b"]),
        (["evaluate", "run=nowhere"], ["run: there is no folder "]),
        (["evaluate", "run=."], [" is not a run folder: it has no run.yaml"]),
        (["evaluate", "run=run", "checkpoint=last"], ["has no checkpoints/last.ckpt; was it trained?"]),
        (["evaluate", "run=run", "checkpoint=first"], ["checkpoint: expected best or last, got first"]),
        (
            ["evaluate", "run=no", "data.path=no.csv"],
            ["run: there is no folder", "data.path: there is no file"],
        ),
        (["predict", "run=run"], ["data.path is required: pass data.path=<a file to predict>"]),
        (
            ["predict", "run=run", "data.path=new.csv", "output=p.xlsx"],
            ["output: expected a name that ends in"],
        ),
        (["predict", "run=run", "data.path=new.csv", "output=no/p.csv"], ["output: there is no folder"]),
        (["predict", "run=run", "data.path=new.csv", "output=new.csv"], ["is the file to predict"]),
        (["predict", "run=run", "data.path=new.csv", "split=val"], ["split: unknown; "]),
    ],
)
def test_mistakes(
    finished: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problems: list[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    for problem in problems:
        assert problem in shown.err
    assert len(shown.err.splitlines()) == (len(problems) + 1 if len(problems) > 1 else 1)
