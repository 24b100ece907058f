"""Says how a run has ended, and how one that was stopped, killed or crashed goes on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import to_json
from lit_mlfund.cluster.requeue import requeue
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution.run_folder import load_frozen
from lit_mlfund.runs.execution.strangers import strange_packages
from lit_mlfund.startup.environment import is_first_process
from lit_mlfund.startup.signals import PREEMPTED, STOPPED, Stopped
from lit_mlfund.startup.streams import say_json, warn

DONE, CRASH, WRONG_INPUT, FAILED = 0, 1, 2, 3  # exit codes, beside those of `STOPPED`
CRASHED = "crashed"  # the status in result.json; such a run can be resumed


def exit_code(result: dict[str, Any]) -> int:
    """Return the exit code of a command that ends with this result."""
    return {"done": DONE, "pruned": DONE, CRASHED: CRASH, **STOPPED}.get(str(result["status"]), FAILED)


def tell(result: dict[str, Any]) -> int:
    """Print a result as JSON, where a program reads it, in the first process only, and return its exit code.

    An output that cannot be written does not change the code: the same is in the folder's `result.json`. The job of a
    run that the scheduler has stopped is requeued behind it.
    """
    code = exit_code(result)
    if is_first_process():
        say_json(to_json(result))
        if result["status"] != "done":
            warn(f"mlfund: {result['status']}: {result.get('reason', '')}")
    if code == PREEMPTED:
        requeue()
    return code


def resume_command(run_dir: Path) -> str:
    """Return the command that resumes a run, which names the packages of others that the run uses."""
    try:
        packages = strange_packages(load_frozen(run_dir))
    except (ConfigError, OSError):  # where the folder is damaged, resuming says so
        packages = []
    words = ["mlfund", "train", f"run={run_dir}", *(word for name in packages for word in ("--trust", name))]
    return shlex.join(words)


def go_on(run_dir: Path) -> str:
    """Return the end of a message about a run that can be resumed."""
    return f"go on with: {resume_command(run_dir)}"


def stopped_result(stopped: Stopped, run_dir: Path) -> dict[str, Any]:
    """Return what a result says of a stopped run: status, and the reason with the command that goes on."""
    return {
        "run": str(run_dir),
        "status": stopped.status,
        "reason": f"{stopped.reason}; {go_on(run_dir)}",
    }
