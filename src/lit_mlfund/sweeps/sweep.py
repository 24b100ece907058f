"""Executes many runs from one command, in this process or by Hydra's sweepers and launchers."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_mlfund.atomic import to_json
from lit_mlfund.config.catalog import PRIMARY
from lit_mlfund.config.compatibility import direction
from lit_mlfund.config.compose import Composed, one_line
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.assembly.data_reuse import shared_data
from lit_mlfund.runs.execution.lifecycle import run_config
from lit_mlfund.startup.environment import launcher_world
from lit_mlfund.startup.signals import REQUEST, Stopped
from lit_mlfund.startup.streams import announce, say_json, say_result, warn
from lit_mlfund.sweeps import optuna_sweeper
from lit_mlfund.sweeps.job import Job, job_folder
from lit_mlfund.sweeps.plan import Plan, plan_sweep, typed_keys

# Runs a plan otherwise than one combination after the other; it is called with the job that records results.
SweepRunner = Callable[..., list[dict[str, Any]]]


def sweep(lines: Sequence[str], config_dir: str | None, command: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run every combination and return the result of each job, in order; each is printed as a line of JSON.

    Raises:
        ConfigError: with the problems of all combinations, before any of them has started.
        Stopped: a signal arrived; the table shows what was done before.
    """
    if launcher_world():
        raise ConfigError("a sweep starts the processes of its jobs by itself; leave out torchrun or srun")
    plan = plan_sweep(lines, config_dir, command)
    report = _claim_report(plan.first)
    job = Job(os.getpid(), config_dir, plan.command, plan.deletions)
    announce(f"starting {len(plan.combinations)} jobs …" if plan.is_enumerated else "starting the jobs …")
    try:
        with shared_data():
            if plan.first.config.get("sweep"):
                results = _runner(plan)(job=job)
            elif plan.is_in_process:
                results = _run_sequentially(plan, job)
            else:
                _multirun(plan, job)
                results = _results(plan, job, expected=len(plan.combinations) if plan.is_enumerated else 0)
    except Stopped:
        with REQUEST.deferred():
            _show(_results(plan, job, expected=0), plan)
        raise
    _show(results, plan)
    if report is not None and (page := report(plan.folder, command)) is not None:
        say_result(f"claim: {page}")
    return results


def _show(results: list[dict[str, Any]], plan: Plan) -> None:
    if len(results) > 1:
        from lit_mlfund.reports.sweep_table import sweep_text  # polars: too slow for the check of a sweep

        say_result(sweep_text(results, direction(plan.first.config)))


def _runner(plan: Plan) -> SweepRunner:
    """Instantiate the runner that `sweep=…` names; ConfigError where it cannot run this plan."""
    if not plan.is_in_process:
        raise ConfigError("sweep: runs in this process; leave out sweepers and launchers of Hydra")
    from lit_mlfund.config.instantiate import instantiate  # torch: too slow for the check of a sweep

    runner: SweepRunner = instantiate(plan.first.config["sweep"], plan=plan)
    return runner


def _claim_report(composed: Composed) -> Callable[..., Path | None] | None:
    """Return the function that reports on the sweep's claim, if any; ConfigError where the claim cannot be read."""
    if not composed.config.get("claim"):
        return None
    from lit_mlfund.sweeps.claims.report import (  # torch: too slow for the check of a sweep
        claim_of,
        report_claim,
    )

    claim_of(composed.config)
    return report_claim


def _run_sequentially(plan: Plan, job: Job) -> list[dict[str, Any]]:
    """Run the jobs in this process, from the configurations that were checked."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(plan.first.config), plan.folder / "multirun.yaml")
    GlobalHydra.instance().clear()
    results = []
    for number, combination in enumerate(plan.combinations):
        config = combination.config

        def execute(config: dict[str, Any] = config) -> dict[str, Any]:
            return run_config(config, plan.command)

        results.append(job.run(number, combination.overrides, plan.folder, execute))
        if number == 0:  # imports of the first job stay alive: exclude them from further garbage collections
            gc.collect()
            gc.freeze()
    return results


def _settings(plan: Plan) -> Iterator[str]:
    """Yield overrides that put Hydra's files into the sweep's folder and silence its logging, unless overridden."""
    settings = {
        "hydra.sweep.dir": f"'{plan.folder}'",
        "hydra.sweep.subdir": ".",
        "hydra.output_subdir": "null",
        "hydra/job_logging": "none",
        "hydra/hydra_logging": "none",
        "hydra.mode": "MULTIRUN",
    }
    typed = typed_keys(plan.overrides)
    yield from (f"{key}={value}" for key, value in settings.items() if key not in typed)
    yield from optuna_sweeper.settings(plan.first, typed)


def _multirun(plan: Plan, job: Job) -> None:
    try:
        plan.composer.hydra.multirun(
            config_name=PRIMARY,
            task_function=job,
            overrides=[*plan.overrides.lines, *_settings(plan)],
            with_log_configuration=False,
        )
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error
    except ValueError as error:
        if not (files := list(job_folder(plan.folder).glob("*.json"))):
            raise ConfigError(f"hydra.sweeper: {one_line(error)}") from error
        if any(json.loads(file.read_text())["status"] == "done" for file in files):
            raise
        # every job failed, so that the sweeper had nothing to choose from
        warn(f"the sweeper ended: {one_line(error)}")
    finally:
        GlobalHydra.instance().clear()


def _results(plan: Plan, job: Job, expected: int) -> list[dict[str, Any]]:
    """Read the jobs' results in order; print those of other processes, and count missing ones as failed."""
    files = {int(file.stem): file for file in (plan.folder / "jobs").glob("*.json")}
    results = []
    for number in range(max(expected, *(n + 1 for n in files), 0)):
        if number in files:
            result = json.loads(files[number].read_text())
        else:
            result = {"job": number, "run": None, "status": "failed", "reason": "the job left no result"}
        if number not in job.printed:
            say_json(to_json(result))
        results.append(result)
    return results
