"""Tells wrong input from a crash when an error ends a run, and records crashes.

Wrong input is what the types of this project say at any time (`problems_of`), and any ValueError before the first
optimizer step: constructors of models, losses and data modules refuse their arguments with it. Every other error is a
crash, the fault of somebody's code.
"""

from __future__ import annotations

import os
import shutil
import traceback
from pathlib import Path

from lit_mlfund.atomic import WriteError
from lit_mlfund.config.errors import ConfigError, problems_of
from lit_mlfund.memory import OutOfMemory
from lit_mlfund.runs.execution.run_folder import RUN_FILE
from lit_mlfund.runs.execution.way_on import resume_command
from lit_mlfund.startup.environment import launcher_world
from lit_mlfund.startup.streams import warn

CRASHED = "crashed"  # the status in result.json; such a run can be resumed
TRACEBACK_FILE = "error.txt"


def wrong_input(error: Exception, run_dir: Path, trained: bool) -> Exception | None:
    """Return the error to raise where the user's input, disk or folder is at fault; None for a crash.

    Args:
        error: what ended the run.
        run_dir: its folder.
        trained: an optimizer step was taken.
    """
    if not (run_dir / RUN_FILE).exists():
        return WriteError(f"{run_dir} was deleted while the run was at work in it; the run has stopped")
    if problems_of(error) is not None and not (trained and isinstance(error, OutOfMemory)):
        return error
    return ConfigError(str(error)) if isinstance(error, ValueError) and not trained else None


def is_consequence(error: Exception) -> bool:
    """Return whether one of several processes fails only because it has lost another one."""
    lost = ("Connection closed", "Connection reset", "gloo", "NCCL")
    return (
        launcher_world() is not None
        and isinstance(error, RuntimeError)
        and any(word in str(error) for word in lost)
    )


def discard(run_dir: Path, error: BaseException, trained: bool) -> None:
    """Remove the folder of a run that wrong input has ended before there was anything to keep.

    After the first optimizer step that is the case only where the disk refuses the first checkpoint.
    """
    if trained and not isinstance(error, WriteError):
        return
    if not (run_dir / "checkpoints" / "last.ckpt").exists():
        shutil.rmtree(run_dir, ignore_errors=True)


def record_crash(run_dir: Path, error: Exception, step: int) -> str | None:
    """Write the traceback to the run folder and return what to tell of it.

    Returns:
        One line that names the error and how to go on; None if another process of the run was first to crash.
    """
    text = "".join(traceback.format_exception(error))
    if os.environ.get("MLFUND_TRACEBACK", "0") not in ("", "0"):
        warn(text.rstrip())
    file = run_dir / TRACEBACK_FILE
    try:
        with open(file, "x", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
    except FileExistsError:
        return None
    message = next(iter(str(error).strip().splitlines()), "")
    name = f"{type(error).__name__}: {message}" if message else type(error).__name__
    has_last = (run_dir / "checkpoints" / "last.ckpt").exists()
    on = "continues from the last checkpoint" if has_last else "starts it again"
    if world := launcher_world():
        name = f"rank {world[0]} of {world[1]}: {name}"
    return f"{name} (at step {step}; where, is in {file}); `{resume_command(run_dir)}` {on}"
