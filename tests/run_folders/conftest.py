"""A folder of runs, written by hand: what the real command line writes is tested in tests/system."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Write a run folder below `runs`, which the working folder has, and return it."""
    monkeypatch.chdir(tmp_path)

    def make(
        name: str,
        *given: str,
        task: str = "binary",
        value: float | None = None,
        metric: str = "auroc",
        result: dict[str, Any] | None = None,
        comment: str = "",
    ) -> Path:
        folder = tmp_path / "runs" / task / name
        folder.mkdir(parents=True)
        command = shlex.join(["mlfund", "train", f"task={task}", *given])
        (folder / "run.yaml").write_text(f"# {command}\n{comment}shape: {task}\nname: {task}\n")
        if value is not None:
            result = {
                "run": str(folder),
                "status": "done",
                "objective": {"name": f"val/{metric}", "value": value + 0.01},
                "test": {metric: {"value": value, "low": value - 0.1, "high": value + 0.1}},
                "references": {},
                "findings": ["healthy"],
                "seconds": 10 * value,
            }
        if result is not None:
            (folder / "result.json").write_text(json.dumps(result))
        return folder

    return make
