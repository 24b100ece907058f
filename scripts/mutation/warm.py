"""Runs tests in forks of this process, which has imported the libraries (but nothing of ours) once.

Time is that of the processor, so that a busy machine notices neither more nor less than an idle one.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = (
    "pytest", "torch", "lightning.pytorch", "torchmetrics", "hydra", "omegaconf", "sklearn.ensemble", "polars",
    "PIL.Image", "sklearn.linear_model", "sklearn.metrics", "scipy.stats", "matplotlib.pyplot",
    "torch.utils.tensorboard", "tensorboard.backend.event_processing.event_accumulator",
)  # fmt: skip
MARK = "MLFUND_CHANGED_TREE"
DEADLOCK = (
    10  # the time on the clock that a second of processor time may take before the tests count as stuck
)


def import_libraries() -> None:
    """Import what the tests need and what is not under test."""
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # read at import; threads of several changes at a time would wait for each other
    )
    for name in LIBRARIES:
        importlib.import_module(name)


@dataclass
class Testing:
    """Watches one run of pytest over a tree, in a process group of its own."""

    tree: Path
    process: int
    mark: str
    limit: float
    started: float

    @classmethod
    def start(cls, tree: Path, tests: list[str], budget: float) -> Testing:
        """Start pytest over these tests of a tree.

        It stops at the first test that fails, and behind the test with which `budget` seconds are used up. A test that
        runs on for as long again, or waits for what does not come, is stuck.
        """
        mark = f"{os.getpid()}-{tree.name}"
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            code = 70
            try:
                code = _child(tree, tests, budget, mark)
            finally:
                os._exit(code)
        return cls(tree, process, mark, 2 * budget + 60, time.monotonic())

    def outcome(self) -> dict | None:
        """Return how it ended: `code` of pytest (None: stuck), `failed` tests and `seconds`; None while it runs."""
        waited = time.monotonic() - self.started
        ended, status = os.waitpid(self.process, os.WNOHANG)
        if not ended and waited < self.limit * DEADLOCK and _used(self.process) < self.limit:
            return None
        if not ended:
            self.stop()
        _sweep(self.mark)
        told = json.loads((self.tree.parent / f"{self.tree.name}.json").read_text())
        return {
            "code": os.waitstatus_to_exitcode(status) if ended else None,
            **told,
            "waited": round(waited, 1),
        }

    def stop(self) -> None:
        """End the tests and what they started."""
        os.killpg(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        _sweep(self.mark)


def _used(process: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _sweep(mark: str) -> None:
    """End what tests left behind: processes that inherited the mark of their run."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:  # ended meanwhile, or not ours
            continue


def _child(tree: Path, tests: list[str], budget: float, mark: str) -> int:
    os.setsid()
    os.chdir(tree)
    log = os.open(tree.parent / f"{tree.name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    silence = os.open(os.devnull, os.O_RDONLY)
    for stream, file in ((0, silence), (1, log), (2, log)):
        os.dup2(file, stream)
    os.environ |= {MARK: mark, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(tree / "src"), str(tree)]
    import pytest

    begun = sum(os.times()[:4])
    told = {"failed": [], "seconds": 0.0}

    class Recorder:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            self._record(report)

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            self._record(report)

        @pytest.hookimpl(trylast=True)
        def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
            if sum(os.times()[:4]) - begun > budget:
                item.session.shouldstop = "the time is used up"

        def _record(self, report: pytest.TestReport | pytest.CollectReport | None = None) -> None:
            told["seconds"] = round(sum(os.times()[:4]) - begun, 1)
            if report is not None and report.failed:
                told["failed"].append(report.nodeid)
            (tree.parent / f"{tree.name}.json").write_text(json.dumps(told))

    recorder = Recorder()
    recorder._record()
    scratch = tree.parent / f"{tree.name}.tmp"
    options = [
        "-x",
        "-q",
        "-m",
        "not slow and not cluster",
        "-p",
        "no:cacheprovider",
        f"--basetemp={scratch}",
        f"--rootdir={tree}",
    ]
    code = int(pytest.main([*options, *tests], plugins=[recorder]))
    recorder._record()
    return 1 if told["failed"] else 0 if code == pytest.ExitCode.INTERRUPTED else code
