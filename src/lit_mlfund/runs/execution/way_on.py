"""Says how a run that was stopped, killed or crashed is resumed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution.run_folder import load_frozen
from lit_mlfund.runs.execution.strangers import strange_packages
from lit_mlfund.startup.signals import Stopped


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
