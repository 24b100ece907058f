"""Executes and records one job of a sweep so that its failure does not end the other jobs."""

from __future__ import annotations

import math
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lit_mlfund.atomic import to_json
from lit_mlfund.cluster.requeue import requeue_by_submitit
from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.check import check
from lit_mlfund.config.compose import delete, plain
from lit_mlfund.config.errors import ConfigError, problems_of
from lit_mlfund.config.overrides import read_overrides, searchpath
from lit_mlfund.runs.execution.lifecycle import run_config
from lit_mlfund.runs.execution.way_on import go_on
from lit_mlfund.runs.execution.workers import WorkerError
from lit_mlfund.startup.environment import is_first_process
from lit_mlfund.startup.signals import PREEMPTED, REQUEST, STOPPED, Stopped, unmasked
from lit_mlfund.startup.streams import OUTPUT, say_json, say_result, show_status, warn
from lit_mlfund.sweeps.job_lines import JobLines
from lit_mlfund.sweeps.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Job:
    """Runs one combination and records its result; Hydra's launchers call it, in this or another process.

    A failure is recorded, and the call returns NaN: one bad combination must not lose the others.

    sweep       the folder of the sweep
    parent      id of the process that prints results as they arrive
    config_dir  as on the command line
    command     the command line as typed
    deletions   values to delete after composing (`~data.time`)
    lines       says on a terminal what became of each
    numbers     of the jobs that are launched, by their position; empty where Hydra's own count
    printed     numbers of the jobs whose result was printed in this process
    recorded    numbers of the jobs whose result was written in this process
    """

    sweep: SweepFolder
    parent: int
    config_dir: str | None
    command: tuple[str, ...]
    deletions: tuple[str, ...]
    lines: JobLines
    numbers: tuple[int, ...] = ()
    printed: set[int] = field(default_factory=set)
    recorded: set[int] = field(default_factory=set)

    def __call__(self, composed: DictConfig) -> float:
        """Check, freeze and execute a combination composed by Hydra; return the best monitored value.

        A job that another process runs, or has run, is left to it.
        """
        hydra = HydraConfig.get()
        overrides = [str(line) for line in hydra.overrides.task]
        number = int(hydra.job.num)
        number = self.numbers[number] if self.numbers else number
        # of several processes of one job (submitit) the first one holds the lease for all
        leased = self.sweep.leased(number) if is_first_process() else nullcontext(True)
        with leased as lease:
            result = self.sweep.result(number)
            if lease is not None and self.sweep.has_to_run(number):
                result = self.run(number, overrides, lambda: self._check_and_run(number, composed, overrides))
        value = ((result or {}).get("objective") or {}).get("value")
        return math.nan if value is None else float(value)

    def _check_and_run(self, number: int, composed: DictConfig, overrides: list[str]) -> dict[str, Any]:
        hydra = HydraConfig.get()
        known = catalog(self.config_dir, searchpath(list(hydra.overrides.hydra) + overrides))
        deleted = read_overrides(self.deletions, known, sweep=False).deleted
        problems = [problem for override in deleted for problem in delete(composed, override)]
        config, unresolved = plain(composed)
        problems += [*unresolved, *check(config, known)]
        if problems:
            raise ConfigError(problems)
        return self.execute(number, config, overrides)

    def execute(self, number: int, config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
        """Begin the run of a job in its folder, or go on with it."""
        return run_config(config, self.command, self.sweep.run_folder(number, config), overrides)

    def run(self, number: int, overrides: list[str], execute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Call `execute`, write its result or its failure to the folder of the sweep, and print it.

        Raises Stopped when a signal stopped the run, or arrived too late to stop it: it stops the sweep too. A job of
        submitit is requeued then.
        """
        try:
            with REQUEST.installed():
                return self._run(number, overrides, execute)
        except Stopped as stopped:
            if stopped.code == PREEMPTED:
                requeue_by_submitit()
            raise

    def _run(
        self, number: int, overrides: list[str], execute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        if OUTPUT.is_for_people:
            show_status(self.lines.start(number, overrides))
        try:
            with unmasked(), OUTPUT.set(**OUTPUT.flags | {"brief": OUTPUT.is_for_people}):
                result = execute()
        except Exception as error:
            problems = problems_of(error) or ([str(error)] if isinstance(error, WorkerError) else [])
            if not problems:
                warn(traceback.format_exc().rstrip())
            reason = "; ".join(problems) or f"{type(error).__name__}: {error}"
            result = {"run": None, "status": "failed", "reason": reason}
        result |= {"job": number, "overrides": overrides}
        with REQUEST.deferred():
            if is_first_process():
                self.sweep.record(number, result)
            self.recorded.add(number)
            if os.getpid() == self.parent:
                self.show(number, result)
        if result["status"] in STOPPED:
            interrupted = result["status"] == "interrupted"
            reason = str(result.get("reason", "stopped by a signal"))
            if result["run"] is not None:  # the sweep says how to go on with all of it
                reason = reason.removesuffix(f"; {go_on(Path(result['run']))}")
            raise Stopped(reason, signal.SIGINT if interrupted else signal.SIGTERM)
        REQUEST.check(f"behind job {number}")
        return result

    def begin(self, total: int | None = None, goes_on: bool = True) -> None:
        """Begin the sweep or go on with it: say which, and print the results of jobs that are not run again.

        Args:
            total: the number of jobs, if it is known.
            goes_on: whether the same command will go on with it.
        """
        known = self.sweep.exists()
        self.sweep.begin()
        self.lines.total = total
        done = {n: result for n, result in self.sweep.results().items() if not self.sweep.has_to_run(n)}
        told = str(self.sweep.path)
        if known:
            jobs = len(done) if total is None else f"{len(done)} of {total}"
            told += f" is of the same command and goes on: {jobs} jobs are done (--fresh runs all anew)"
        elif goes_on:
            told += "; if it is interrupted, the same command goes on"
        warn(f"sweep: {told}")
        for number, result in done.items():
            self.show(number, result)

    def show(self, number: int, result: dict[str, Any]) -> None:
        """Print the result of a job, unless it was printed before."""
        if number not in self.printed:
            say_json(to_json(result))
            if OUTPUT.is_for_people:
                say_result(self.lines.end(number, result, is_new=number in self.recorded))
            self.printed.add(number)
