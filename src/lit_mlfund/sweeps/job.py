"""Executes and records one job of a sweep so that its failure does not end the other jobs."""

from __future__ import annotations

import math
import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lit_mlfund.atomic import to_json, write_json
from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.check import check
from lit_mlfund.config.compose import delete, plain
from lit_mlfund.config.errors import ConfigError, problems_of
from lit_mlfund.config.overrides import read_overrides, searchpath
from lit_mlfund.runs.execution.lifecycle import run_config
from lit_mlfund.runs.execution.workers import WorkerError
from lit_mlfund.startup.signals import REQUEST, STOPPED, Stopped, unmasked
from lit_mlfund.startup.streams import say_json, warn
from lit_mlfund.sweeps.optuna_sweeper import missing_value


@dataclass(frozen=True)
class Job:
    """Runs one combination and records its result; Hydra's launchers call it, in this or another process.

    A failure is recorded, and the call returns no number (`optuna_sweeper.missing_value`): one bad combination must
    not lose the others.

    parent      id of the process that prints results as they arrive
    config_dir  as on the command line
    command     the command line as typed
    deletions   values to delete after composing (`~data.time`)
    printed     numbers of the jobs whose result was printed in this process
    recorded    numbers of the jobs whose result was written in this process
    """

    parent: int
    config_dir: str | None
    command: tuple[str, ...]
    deletions: tuple[str, ...]
    printed: set[int] = field(default_factory=set)
    recorded: set[int] = field(default_factory=set)

    def __call__(self, composed: DictConfig) -> float | None:
        """Check, freeze and execute a combination composed by Hydra; return the best monitored value."""
        hydra = HydraConfig.get()
        overrides = [str(line) for line in hydra.overrides.task]

        def check_and_run() -> dict[str, Any]:
            known = catalog(self.config_dir, searchpath(list(hydra.overrides.hydra) + overrides))
            deleted = read_overrides(self.deletions, known, sweep=False).deleted
            problems = [problem for override in deleted for problem in delete(composed, override)]
            config, unresolved = plain(composed)
            problems += [*unresolved, *check(config, known)]
            if problems:
                raise ConfigError(problems)
            return run_config(config, self.command)

        result = self.run(int(hydra.job.num), overrides, Path(str(hydra.sweep.dir)), check_and_run)
        value = (result.get("objective") or {}).get("value")
        return missing_value(hydra) if value is None or math.isnan(value) else float(value)

    def run(
        self, number: int, overrides: list[str], folder: Path, execute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Call `execute`, write its result or its failure to the folder of the sweep, and print it.

        Raises Stopped when a signal stopped the run, or arrived too late to stop it: it stops the sweep too.
        """
        with REQUEST.installed():
            return self._run(number, overrides, folder, execute)

    def _run(
        self, number: int, overrides: list[str], folder: Path, execute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        try:
            with unmasked():
                result = execute()
        except Exception as error:
            problems = problems_of(error) or ([str(error)] if isinstance(error, WorkerError) else [])
            if not problems:
                warn(traceback.format_exc().rstrip())
            reason = "; ".join(problems) or f"{type(error).__name__}: {error}"
            result = {"run": None, "status": "failed", "reason": reason}
        result |= {"job": number, "overrides": overrides}
        with REQUEST.deferred():
            write_json(job_folder(folder) / f"{number}.json", result)
            self.recorded.add(number)
            if os.getpid() == self.parent:
                say_json(to_json(result))
                self.printed.add(number)
        if result["status"] in STOPPED:
            interrupted = result["status"] == "interrupted"
            reason = result.get("reason", "stopped by a signal")
            raise Stopped(reason, signal.SIGINT if interrupted else signal.SIGTERM)
        REQUEST.check(f"behind job {number}")
        return result


def job_folder(sweep_dir: Path) -> Path:
    """Create and return the folder of the jobs' results, one `N.json` each."""
    folder = sweep_dir / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
