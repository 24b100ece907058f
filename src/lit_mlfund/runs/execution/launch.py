"""Executes a run in this process, in workers that it starts, or as one of the workers of an outer launcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution.lock import run_lock
from lit_mlfund.runs.execution.run_folder import load_frozen
from lit_mlfund.startup.environment import launcher_world
from lit_mlfund.startup.fast_imports import importing

# Left by an earlier job in this process or by the shell; workers must not inherit them.
_INHERITED = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK", "ROLE_RANK")
PROBLEMS_FILE = "MLFUND_PROBLEMS_FILE"  # the file through which a worker reports wrong input to its parent
WORKER = "lit_mlfund.runs.execution.worker"


class WorkerError(RuntimeError):
    """Signals that the workers ended without a result."""


def launch(run_dir: Path, resume: bool) -> dict[str, Any]:
    """Execute a frozen run with the number of processes that it configures; return its `result.json`.

    Raises:
        ConfigError: the user's input is wrong, or another process is at work in the folder.
    """
    if launcher_world():
        return execute_here(run_dir, resume)
    with run_lock(run_dir):
        workers = num_workers(load_frozen(run_dir)["trainer"])
        return run_workers(run_dir, workers, resume) if workers > 1 else execute_here(run_dir, resume)


def execute_here(run_dir: Path, resume: bool) -> dict[str, Any]:
    """Execute a frozen run in this process."""
    with importing():
        from lit_mlfund.runs.execution.execute import execute

    return execute(run_dir, resume=resume)


def num_workers(trainer: dict[str, Any]) -> int:
    """Return the number of processes to start here for `trainer.devices`; `auto` is one per GPU, at least one.

    Raises:
        ConfigError: several machines are configured, on which only srun or torchrun can start processes.
    """
    if int(trainer.get("num_nodes") or 1) > 1:
        raise ConfigError(
            f"trainer.num_nodes: {trainer['num_nodes']} machines need a launcher on each of them;"
            " start this command with srun or torchrun"
        )
    devices = trainer.get("devices", 1)
    if devices != "auto":
        return int(devices)
    if trainer.get("accelerator") == "cpu":
        return 1
    import torch

    return max(torch.cuda.device_count(), 1)


def run_workers(run_dir: Path, workers: int, resume: bool, module: str = WORKER) -> dict[str, Any]:
    """Start `workers` processes with torch's elastic launcher, wait for them, and read their result.

    A signal to this process is forwarded to them, so that they can save before they stop.

    Raises:
        ConfigError: a worker reported wrong user input.
        WorkerError: the workers ended without a result.
    """
    result_file = run_dir / "result.json"
    result_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}"]
    command += ["-m", module, str(run_dir), *(["--resume"] if resume else [])]
    with tempfile.TemporaryDirectory() as folder:
        problems_file = Path(folder, "problems.json")
        process = subprocess.Popen(command, env={**_clean_environment(), PROBLEMS_FILE: str(problems_file)})
        with _forwarded_signals(process):
            code = process.wait()
        if result_file.exists():
            result: dict[str, Any] = json.loads(result_file.read_text())
            return result
        if problems_file.exists():
            raise ConfigError(json.loads(problems_file.read_text()))
    raise WorkerError(f"the {workers} processes of {run_dir} ended with code {code} and without a result")


def _clean_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _INHERITED and not name.startswith(("MASTER_", "TORCHELASTIC_"))
    }


@contextmanager
def _forwarded_signals(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Forward the signals of a scheduler to a child while it runs; Ctrl-C reaches it directly."""

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[signal.Signals, Any] = {
        signal.SIGTERM: forward,
        signal.SIGUSR2: forward,
        signal.SIGINT: signal.SIG_IGN,
    }
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
