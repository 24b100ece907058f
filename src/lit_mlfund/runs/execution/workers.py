"""Starts the workers of a run on this machine, and ends all of them as soon as one has failed.

They get the environment that torchrun would give them. Its agent is not used: it stands between a signal and the
workers, outlives a killed parent, and reports the failure of a rank as the tracebacks of all.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.parent import PARENT
from lit_mlfund.startup.signals import REQUEST, STOPPED, Stopped
from lit_mlfund.startup.streams import OUTPUT

# Left by an earlier job in this process or by the shell; workers must not inherit them.
_INHERITED = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK", "ROLE_RANK")
PROBLEMS_FILE = "MLFUND_PROBLEMS_FILE"  # the file through which a worker reports wrong input to its parent
WORKER = "lit_mlfund.runs.execution.worker"
_POLL = 0.05  # seconds
# Seconds that the others have when one has ended: to write what was saved, or to notice that a peer is gone.
_GRACE_TO_STOP, _GRACE_TO_FAIL = 20.0, 1.0


class WorkerError(RuntimeError):
    """Signals that the workers ended without a result."""


def run_workers(
    run_dir: Path, workers: int, resume: bool, module: str = WORKER, lock: int | None = None
) -> dict[str, Any]:
    """Start `workers` processes, wait for them, and read their result.

    A signal to this process is forwarded to them, so that they can save before they stop. They are in sessions of
    their own: Ctrl-C reaches this process alone. If it is killed, they end with it.

    Args:
        run_dir: a folder with a checked, resolved `run.yaml`.
        workers: their number.
        resume: continue from `checkpoints/last.ckpt` if there is one.
        module: what each of them executes.
        lock: the descriptor that holds the folder's lock; they hold it too.

    Raises:
        ConfigError: a worker reported wrong user input.
        Stopped: a signal ended them before they had a result.
        WorkerError: the workers ended without a result.
    """
    result_file = run_dir / "result.json"
    result_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", module, str(run_dir), *(["--resume"] if resume else [])]
    with tempfile.TemporaryDirectory() as folder, REQUEST.installed(), REQUEST.deferred():
        problems_file = Path(folder, "problems.json")
        group = _Group()
        port = _free_port()
        try:
            for rank in range(workers):
                environment = _environment(rank, workers, port) | {PROBLEMS_FILE: str(problems_file)}
                group.start(command, environment, () if lock is None else (lock,))
            group.wait()
        finally:
            group.kill()
        if result_file.exists():
            result: dict[str, Any] = json.loads(result_file.read_text())
            return result
        if problems_file.exists():
            raise ConfigError(json.loads(problems_file.read_text()))
        if REQUEST.raised or any(code in STOPPED.values() for code in group.codes):
            interrupted = STOPPED["interrupted"] in group.codes
            raise Stopped(number=REQUEST.number or (signal.SIGINT if interrupted else signal.SIGTERM))
        raise WorkerError(_reason(run_dir, group))


@dataclass
class _Group:
    """Holds the processes of a run, by rank."""

    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)  # ranks that had to be killed

    @property
    def codes(self) -> list[int | None]:
        """Return the exit codes, None for those at work."""
        return [process.poll() for process in self.processes]

    def start(self, command: list[str], environment: dict[str, str], descriptors: Iterable[int]) -> None:
        """Start the next rank."""
        self.processes.append(
            subprocess.Popen(command, env=environment, pass_fds=tuple(descriptors), start_new_session=True)
        )

    def wait(self) -> None:
        """Wait until all have ended; forward a signal once, and kill those that a failed one has left behind."""
        forwarded, deadline = False, float("inf")
        while None in (codes := self.codes):
            if REQUEST.number is not None and not forwarded:
                forwarded = True
                for process in self.processes:
                    process.send_signal(REQUEST.number)  # without effect on one that has ended
            if deadline == float("inf") and any(codes):
                is_stop = forwarded or any(code in STOPPED.values() for code in codes)
                deadline = time.monotonic() + (_GRACE_TO_STOP if is_stop else _GRACE_TO_FAIL)
            if time.monotonic() > deadline:
                return
            time.sleep(_POLL)

    def kill(self) -> None:
        """Kill those that are still at work."""
        for rank, process in enumerate(self.processes):
            if process.poll() is None:
                self.killed.add(rank)
                process.kill()
                process.wait()


def _reason(run_dir: Path, group: _Group) -> str:
    """Return one sentence that names the rank that was ended from outside, and how to go on."""
    from lit_mlfund.runs.execution.way_on import go_on  # reads YAML, which the command line does without

    size = len(group.processes)
    for rank, code in enumerate(group.codes):
        if code is not None and code < 0 and rank not in group.killed:
            name = signal.Signals(-code).name
            hint = ", as a machine does that is out of memory" if -code == signal.SIGKILL else ""
            return f"rank {rank} of {size} was ended by {name}{hint}; {go_on(run_dir)}"
    code = next((code for code in group.codes if code), 0)
    return f"the {size} processes of {run_dir} ended with code {code} and without a result"


def _environment(rank: int, workers: int, port: int) -> dict[str, str]:
    """Return the variables of one worker: those of torchrun, by which libraries find their peers."""
    return _clean_environment() | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(workers),
        "LOCAL_WORLD_SIZE": str(workers),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "none",
        PARENT: str(os.getpid()),
        **OUTPUT.environment,
    }


def _clean_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _INHERITED and not name.startswith(("MASTER_", "TORCHELASTIC_"))
    }


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
