"""One finished run, copied and spoiled for each test, and every command that reads it, in this process.

A hostile file tries to make `canary`; whatever it is, no command makes it, writes a file, or ends in more than one
message. Memory is limited while a command runs, and none may hang.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from lit_mlfund.cli import main

SECONDS = 120  # far more than any of these commands takes
MEMORY = 3 * 2**30  # bytes beside what the process has mapped already
CANARY = "canary"
EVIL = "evil_package"


@dataclass
class Case:
    """A copy of the finished run that a test spoils, in a folder of its own which is the working folder."""

    folder: Path
    capfd: pytest.CaptureFixture[str]

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "binary" / "finished"

    def config(self) -> Any:
        return yaml.safe_load((self.run / "run.yaml").read_text())

    def spoil(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the configuration in place, as somebody with an editor would."""
        config = self.config()
        change(config)
        (self.run / "run.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def commands(self) -> dict[str, list[str]]:
        run = f"run={self.run}"
        return {
            "evaluate": ["evaluate", run],
            "predict": ["predict", run, "data.path=table.csv", "output=out.csv"],
            "train": ["train", run],
        }

    def call(self, arguments: list[str]) -> tuple[int, str]:
        """Return exit code and stderr of a command that must neither run code nor show a traceback."""
        with limits():
            code = main(arguments)
        told = self.capfd.readouterr().err
        assert not (self.folder / CANARY).exists(), f"{arguments[0]} ran what the file says"
        assert EVIL not in sys.modules
        assert "Traceback" not in told, told
        return code, told

    def refused(self, arguments: list[str], *words: str) -> str:
        """Call a command that has to end with one message, and to leave every file as it was."""
        before = files(self.folder)
        code, told = self.call(arguments)
        assert code == 2, (code, told)
        assert len([line for line in told.splitlines() if line.startswith("mlfund: ")]) == 1, told
        assert len(told) < 5000, told[:5000]
        for word in words:
            assert word in told, (word, told)
        assert files(self.folder) == before
        return told


def files(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in folder.rglob("*"):
        stat = path.lstat()
        if path.is_file():
            found[str(path)] = (stat.st_size, stat.st_mtime_ns)
    return found


@contextmanager
def limits() -> Iterator[None]:
    """Limit the memory and the time of a block."""

    def too_long(number: int, frame: object) -> None:
        raise AssertionError(f"still at work after {SECONDS} s")

    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    previous = signal.signal(signal.SIGALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, hard))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and a run that was trained on it for one epoch."""
    folder = tmp_path_factory.mktemp("finished")
    generator = np.random.default_rng(0)
    number = generator.normal(size=120)
    color = generator.choice(["red", "green"], 120)
    pl.DataFrame({"number": number, "color": color, "y": (number > 0).astype(int)}).write_csv(
        folder / "table.csv"
    )
    here = Path.cwd()
    os.chdir(folder)
    try:
        lines = ["task=binary", "data=table", "data.path=table.csv", "data.target=y", "model.hidden=[4]"]
        lines += ["trainer.max_epochs=1", "references=false", "logger=none"]
        assert main(["train", *lines]) == 0
    finally:
        os.chdir(here)
    (run,) = (folder / "runs" / "binary").iterdir()
    run.rename(run.with_name("finished"))
    return folder


@pytest.fixture
def case(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Case]:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    (folder / f"{EVIL}.py").write_text(f"open({CANARY!r}, 'w').close()\nclass Net: ...\n")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    capfd.readouterr()
    yield Case(folder, capfd)
    sys.modules.pop(EVIL, None)
