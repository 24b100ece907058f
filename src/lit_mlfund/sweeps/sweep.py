"""Executes many runs from one command, in this process or by Hydra's sweepers and launchers."""

from __future__ import annotations

import gc
import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_mlfund.atomic import write_text
from lit_mlfund.config.catalog import PRIMARY
from lit_mlfund.config.compatibility import direction
from lit_mlfund.config.compose import Composed, one_line
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.assembly.data_reuse import shared_data
from lit_mlfund.startup.environment import launcher_world
from lit_mlfund.startup.signals import REQUEST, Stopped
from lit_mlfund.startup.streams import announce, say_result, warn
from lit_mlfund.sweeps.job import Job
from lit_mlfund.sweeps.job_lines import JobLines
from lit_mlfund.sweeps.plan import Combination, Plan, fixed_lines, plan_sweep, typed_keys
from lit_mlfund.sweeps.sweep_folder import ENDED_WELL

_POLL = 1.0  # seconds between two looks at what other processes do


class SweepRunner(Protocol):
    """Runs a plan otherwise than one combination after the other.

    runs_combinations  whether its jobs are those of the plan, rather than proposed as it goes
    """

    runs_combinations: bool

    def problems(self) -> Iterable[str]:
        """Yield what in the plan prevents it, one line each; nothing is written before."""

    def __call__(self, job: Job) -> list[dict[str, Any]]:
        """Run the plan by `job`, which records results, and return those that the sweep returns."""


def sweep(
    lines: Sequence[str], config_dir: str | None, command: Sequence[str] = (), *, fresh: bool = False
) -> list[dict[str, Any]]:
    """Run every combination and return the result of each job, in order; each is printed as a line of JSON.

    Jobs that the same command has done before are not run again, unless `fresh`; those that other processes are at are
    waited for.

    Raises:
        ConfigError: with the problems of all combinations, before any of them has started.
        Stopped: a signal arrived; the table shows what was done before.
    """
    if launcher_world():
        raise ConfigError("a sweep starts the processes of its jobs by itself; leave out torchrun or srun")
    plan = plan_sweep(lines, config_dir, command, fresh)
    report = _claim_report(plan.first)
    told = JobLines(frozenset(line.lstrip("+").partition("=")[0] for line in fixed_lines(plan.overrides)))
    job = Job(plan.sweep, os.getpid(), config_dir, plan.command, plan.deletions, told)
    announce(f"starting {len(plan.combinations)} jobs …" if plan.is_enumerated else "starting the jobs …")
    try:
        with shared_data():
            if plan.first.config.get("sweep"):
                results = runner_of(plan)(job)
            elif plan.is_in_process:
                results = _run_sequentially(plan, job)
            else:
                _launch_all(plan, job) if plan.is_enumerated else _multirun(plan, job)
                results = _results(plan, job)
    except Stopped as stopped:
        with REQUEST.deferred():
            results = list(plan.sweep.results().values())
            for result in results:
                job.show(result["job"], result)
            _show(results, plan)
            raise Stopped(f"{stopped.reason}; {_way_on(plan, results)}", stopped.number) from None
    finally:
        plan.sweep.leave()
    _show(results, plan)
    failed = any(result["status"] == "failed" for result in results)
    if failed and plan.is_enumerated and plan.sweep.reruns_failed:
        warn("sweep: the same command runs the failed jobs again, and no others")
    if report is not None and (page := report(plan.folder, command)) is not None:
        say_result(f"claim: {page}")
    return results


def _show(results: list[dict[str, Any]], plan: Plan) -> None:
    if len(results) > 1:
        from lit_mlfund.reports.comparison.sweep_table import (
            sweep_text,  # polars: too slow for the check of a sweep
        )

        say_result(sweep_text(results, direction(plan.first.config)))


def _way_on(plan: Plan, results: Sequence[dict[str, Any]]) -> str:
    """Return what is done, and the command that goes on."""
    done = sum(result["status"] in ENDED_WELL for result in results)
    total = f" of {len(plan.combinations)}" if len(plan.combinations) > 1 else ""
    command = shlex.join(word for word in plan.command if word != "--fresh")
    return f"{done}{total} jobs of the sweep are done; go on with: {command or 'the same command'}"


def runner_of(plan: Plan) -> SweepRunner:
    """Instantiate the runner that `sweep=…` names; ConfigError where it cannot run this plan."""
    if not plan.is_in_process:
        raise ConfigError("sweep: runs in this process; leave out sweepers and launchers of Hydra")
    from lit_mlfund.config.instantiate import instantiate  # torch: too slow for the check of a sweep

    runner: SweepRunner = instantiate(plan.first.config["sweep"], plan=plan)
    if problems := list(dict.fromkeys(runner.problems())):
        raise ConfigError(problems)
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
    job.begin(len(plan.combinations))
    write_text(plan.folder / "multirun.yaml", OmegaConf.to_yaml(OmegaConf.create(plan.first.config)))
    GlobalHydra.instance().clear()
    is_first = True
    with closing(plan.sweep.turns(_configs(plan))) as turns:
        for number in turns:
            combination = plan.combinations[number]

            def execute(number: int = number, combination: Combination = combination) -> dict[str, Any]:
                return job.execute(number, combination.config, combination.overrides)

            job.run(number, combination.overrides, execute)
            if is_first:  # imports of the first job stay alive: exclude them from further garbage collections
                is_first = False
                gc.collect()
                gc.freeze()
    return _results(plan, job)


def _configs(plan: Plan) -> dict[int, dict[str, Any]]:
    return {number: combination.config for number, combination in enumerate(plan.combinations)}


def _launch_all(plan: Plan, job: Job) -> None:
    """Run the jobs by Hydra's launcher, but for those that other processes are at, which are waited for."""
    job.begin(len(plan.combinations))
    place, launched = plan.sweep, set[int]()
    waiting = [number for number in _configs(plan) if place.has_to_run(number)]
    while waiting:
        free = [number for number in waiting if number not in launched and place.holder(number) is None]
        if free:
            _launch(plan, replace(job, numbers=tuple(free)))
            launched.update(free)
        else:
            time.sleep(_POLL)
        # one that was launched and that nobody is at has left no result
        waiting = [n for n in waiting if place.has_to_run(n) and (n not in launched or place.holder(n))]


def _launch(plan: Plan, job: Job) -> None:
    """Run the jobs `job.numbers` by Hydra's launcher, as its basic sweeper would run all."""
    hydra = plan.composer.hydra
    with _launching(plan):
        config = hydra.compose_config(
            config_name=PRIMARY,
            overrides=[*plan.overrides.lines, *_settings(plan)],
            run_mode=RunMode.MULTIRUN,
            with_log_configuration=False,
        )
        callbacks = Callbacks(config)
        callbacks.on_multirun_start(config=config, config_name=PRIMARY)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=hydra.config_loader, callbacks=callbacks),
            task_function=job,
            config=config,
        )
        write_text(plan.folder / "multirun.yaml", OmegaConf.to_yaml(config))
        size = config.hydra.sweeper.max_batch_size or len(job.numbers)
        for start in range(0, len(job.numbers), size):
            batch = [plan.combinations[number].overrides for number in job.numbers[start : start + size]]
            for ended in launcher.launch(batch, initial_job_idx=start):
                _ = ended.return_value  # raises what the job has raised
        callbacks.on_multirun_end(config=config, config_name=PRIMARY)


@contextmanager
def _launching(plan: Plan) -> Iterator[None]:
    """Turn errors of Hydra, and of a launcher that refuses or loses jobs, into messages."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error
    except RuntimeError as error:
        if not type(error).__module__.startswith("submitit") and "srun" not in str(error):
            raise
        if not plan.sweep.results():  # refused by sbatch, or Slurm is not installed
            raise ConfigError(f"hydra.launcher: {one_line(error)}") from error
        warn(f"a job was lost: {one_line(error)}")  # it is counted as failed
    finally:
        GlobalHydra.instance().clear()


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
    limit = "hydra.launcher.max_num_timeout"  # of submitit: how often a job at its limit of time may go on
    if "max_num_timeout" in plan.first.hydra.launcher and limit not in typed:
        yield f"{limit}=1000"


def _multirun(plan: Plan, job: Job) -> None:
    """Run the jobs that a sweeper of another package proposes."""
    job.begin(goes_on=False)
    with _launching(plan):
        try:
            plan.composer.hydra.multirun(
                config_name=PRIMARY,
                task_function=job,
                overrides=[*plan.overrides.lines, *_settings(plan)],
                with_log_configuration=False,
            )
        except ValueError as error:
            if isinstance(error, OmegaConfBaseException):
                raise
            if not (results := plan.sweep.results()):
                raise ConfigError(f"hydra.sweeper: {one_line(error)}") from error
            if any(result["status"] == "done" for result in results.values()):
                raise
            # every job failed, so that the sweeper had nothing to choose from
            warn(f"the sweeper ended: {one_line(error)}")


def _results(plan: Plan, job: Job) -> list[dict[str, Any]]:
    """Read the jobs' results in order; print those of other processes, and count missing ones as failed."""
    found = plan.sweep.results()
    results = []
    for number in range(len(plan.combinations) if plan.is_enumerated else max(found, default=-1) + 1):
        missing = {"job": number, "run": None, "status": "failed", "reason": "the job left no result"}
        results.append(found.get(number, missing))
        job.show(number, results[-1])
    return results
