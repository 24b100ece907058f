"""Executes a run in this process, in workers that it starts, or as one of the workers of an outer launcher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import write_json
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.execution.lock import run_lock
from lit_mlfund.runs.execution.run_folder import load_frozen
from lit_mlfund.runs.execution.way_on import stopped_result
from lit_mlfund.runs.execution.workers import run_workers
from lit_mlfund.startup.environment import is_first_process, launcher_world
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.signals import REQUEST, STOPPED, Stopped, unmasked


def launch(run_dir: Path, resume: bool) -> dict[str, Any]:
    """Execute a frozen run with the number of processes that it configures; return its `result.json`.

    A signal ends it with a result that can be resumed, even where it arrives before the training does.

    Raises:
        ConfigError: the user's input is wrong, or another process is at work in the folder.
    """
    with REQUEST.installed():
        earlier = _objective(run_dir)
        try:
            if (world := launcher_world()) and world[0] > 0:
                return execute_here(run_dir, resume)
            with run_lock(run_dir) as lock, unmasked():
                workers = 1 if world else num_workers(load_frozen(run_dir)["trainer"])
                if workers > 1:
                    result = run_workers(run_dir, workers, resume, lock=lock)
                else:
                    result = execute_here(run_dir, resume)
        except Stopped as stopped:
            result = _result(run_dir)
            if result.get("status") != "done":  # else it came too late to stop anything
                result = stopped_result(stopped, run_dir)
        if result.get("status") in STOPPED and is_first_process():
            if earlier and (result.get("objective") or {}).get("value") is None:
                result["objective"] = earlier  # it was stopped before its training went on
            with REQUEST.deferred():
                write_json(run_dir / "result.json", result)
        return result


def _objective(run_dir: Path) -> dict[str, Any] | None:
    """Return the objective of a run as an earlier session has left it; None where it has no value."""
    objective = _result(run_dir).get("objective")
    known = isinstance(objective, dict) and isinstance(objective.get("value"), float)
    return objective if known else None


def _result(run_dir: Path) -> dict[str, Any]:
    """Return the contents of `result.json`, nothing where there is none that can be read."""
    try:
        result = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return result if isinstance(result, dict) else {}


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
