"""Many runs from one command, by Hydra's sweepers and launchers; all are checked before the first starts."""

from __future__ import annotations

import json
import math
import os
import secrets
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lit_mlfund.atomic import to_json, write_json
from lit_mlfund.runtime.check import check
from lit_mlfund.runtime.compose import Composed, Composer, delete, one_line, plain
from lit_mlfund.runtime.errors import ConfigError, problems_of
from lit_mlfund.runtime.outer import outer_world
from lit_mlfund.runtime.overrides import Overrides, parse, read_overrides, searchpath
from lit_mlfund.runtime.sources import PRIMARY, catalog
from lit_mlfund.runtime.train import run_config

_MAX_LISTED = 3  # jobs named beside a problem that not all of them have


@dataclass(frozen=True)
class Job:
    """What Hydra's launcher calls for each combination, here or in another process.

    A failure is recorded and returned as NaN, which sweepers take for a failed trial: one bad combination
    must not lose the others.

    parent      id of the process that prints results as they come
    config_dir  as on the command line
    command     what was typed
    deletions   values to delete after composing (`~data.time`)
    printed     numbers of the jobs whose result was printed in this process
    """

    parent: int
    config_dir: str | None
    command: tuple[str, ...]
    deletions: tuple[str, ...]
    printed: set[int] = field(default_factory=set)

    def __call__(self, composed: DictConfig) -> float:
        """Check, freeze and execute one combination; the best value of what it monitors."""
        hydra = HydraConfig.get()
        overrides = [str(line) for line in hydra.overrides.task]
        result = self._run(composed, list(hydra.overrides.hydra) + overrides)
        result |= {"job": int(hydra.job.num), "overrides": overrides}
        write_json(_job_folder(hydra.sweep.dir) / f"{result['job']}.json", result)
        if os.getpid() == self.parent:
            print(to_json(result), flush=True)
            self.printed.add(result["job"])
        if result["status"] == "preempted":
            raise SystemExit(143)
        value = (result.get("objective") or {}).get("value")
        return math.nan if value is None else float(value)

    def _run(self, composed: DictConfig, lines: Sequence[str]) -> dict[str, Any]:
        try:
            known = catalog(self.config_dir, searchpath(lines))
            deleted = read_overrides(self.deletions, known, sweep=False).deleted
            problems = [problem for override in deleted for problem in delete(composed, override)]
            config, unresolved = plain(composed)
            problems += [*unresolved, *check(config, known)]
            if problems:
                raise ConfigError(problems)
            return run_config(config, self.command)
        except Exception as error:
            problems = problems_of(error) or []
            if not problems:
                traceback.print_exc()
            reason = "; ".join(problems) or f"{type(error).__name__}: {error}"
            return {"run": None, "status": "failed", "reason": reason}


def sweep(lines: Sequence[str], config_dir: str | None, command: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run every combination and return the result of each job, in order; each is printed as a line of JSON.

    Raises:
        ConfigError: with the problems of all combinations, before any of them has started.
    """
    if outer_world():
        raise ConfigError("a sweep starts the processes of its jobs itself; leave out torchrun or srun")
    composer = Composer(config_dir, lines)
    asked = read_overrides(lines, composer.catalog, sweep=True)
    first = composer.compose([*_representative(asked), *_deletions(asked)])
    if _is_basic(first):
        asked = _with_parameters(asked, first, lines, composer)
        combinations = [list(job) for job in BasicSweeper.split_arguments(_parsed(asked), None)[0]]
    else:
        combinations = [_representative(asked)]
    problems = [*asked.problems, *_all_problems(composer, combinations, _deletions(asked))]
    if problems:
        raise ConfigError(problems)
    report = _claim_report(first)
    folder = _sweep_folder(first)
    job = Job(os.getpid(), config_dir, tuple(command), tuple(_deletions(asked)))
    _multirun(composer, [*asked.lines, *_settings(asked, first, folder)], job)
    results = _results(folder, len(combinations) if _is_basic(first) else 0, job)
    if report is not None and (page := report(folder, command)) is not None:
        print(f"claim: {page}", file=sys.stderr)
    return results


def _claim_report(composed: Composed) -> Callable[..., Path | None] | None:
    """What reports on the claim of a sweep that has one; ConfigError where the claim cannot be read."""
    if not composed.config.get("claim"):
        return None
    from lit_mlfund.runtime.claims import claim_of, report_claim  # torch: nothing for the check of a sweep

    claim_of(composed.config)
    return report_claim


def _is_basic(composed: Composed) -> bool:
    return str(composed.hydra.sweeper._target_).endswith(".BasicSweeper")


def _parsed(asked: Overrides) -> list[Override]:
    return [parse(line) for line in asked.lines]


def _deletions(asked: Overrides) -> list[str]:
    return [str(override.input_line) for override in asked.deleted]


def _representative(asked: Overrides) -> list[str]:
    """The overrides of one job of the sweep: the first of each choice, the start of each interval."""
    lines = []
    for override in _parsed(asked):
        line = str(override.input_line)
        if override.is_discrete_sweep():
            line = f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
        elif override.is_sweep_override():
            value = override.value()
            assert isinstance(value, IntervalSweep)
            line = f"{override.get_key_element()}={value.start}"
        lines.append(line)
    return lines


def _with_parameters(
    asked: Overrides, first: Composed, lines: Sequence[str], composer: Composer
) -> Overrides:
    """Add the sweeps that a configuration file asks for in `hydra.sweeper.params`; the command line wins."""
    parameters = first.hydra.sweeper.params or {}
    added = [f"{key}={values}" for key, values in parameters.items()]
    if not parameters:
        return asked
    return read_overrides([*added, *lines, "hydra.sweeper.params=null"], composer.catalog, sweep=True)


def _all_problems(composer: Composer, combinations: list[list[str]], deletions: list[str]) -> Iterator[str]:
    """Each problem once, with the jobs that have it where not all of them do."""
    found: dict[str, list[str]] = {}
    common = set(combinations[0]).intersection(*combinations[1:])
    for lines in combinations:
        label = " ".join(line.lstrip("+") for line in lines if line not in common)
        try:
            problems = composer.compose([*lines, *deletions]).problems
        except ConfigError as error:
            problems = error.problems
        for problem in dict.fromkeys(problems):
            found.setdefault(problem, []).append(label)
    for problem, labels in found.items():
        if len(labels) == len(combinations):
            yield problem
        else:
            more = f" and {len(labels) - _MAX_LISTED} more" if len(labels) > _MAX_LISTED else ""
            yield f"{problem}  [{'; '.join(labels[:_MAX_LISTED])}{more}]"


def _sweep_folder(first: Composed) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{first.config['name']}-{secrets.token_hex(3)}"
    return Path(first.config["runs_dir"]).expanduser().absolute() / "sweeps" / name


def _settings(asked: Overrides, first: Composed, folder: Path) -> Iterator[str]:
    """Hydra's files go into one folder below `runs_dir`, its logging out of the way, unless asked for."""
    typed = {override.key_or_group for override in _parsed(asked)}
    settings = {
        "hydra.sweep.dir": f"'{folder}'",
        "hydra.sweep.subdir": ".",
        "hydra.output_subdir": "null",
        "hydra/job_logging": "none",
        "hydra/hydra_logging": "none",
        "hydra.mode": "MULTIRUN",
    }
    yield from (f"{key}={value}" for key, value in settings.items() if key not in typed)


def _multirun(composer: Composer, lines: list[str], job: Job) -> None:
    try:
        composer.hydra.multirun(
            config_name=PRIMARY, task_function=job, overrides=lines, with_log_configuration=False
        )
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error
    finally:
        GlobalHydra.instance().clear()


def _job_folder(sweep_dir: Any) -> Path:
    folder = Path(str(sweep_dir)) / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _results(folder: Path, expected: int, job: Job) -> list[dict[str, Any]]:
    """What the jobs wrote, in order; those of other processes are printed now, those that vanished failed."""
    files = {int(file.stem): file for file in _job_folder(folder).glob("*.json")}
    results = []
    for number in range(max(expected, *(n + 1 for n in files), 0)):
        if number in files:
            result = json.loads(files[number].read_text())
        else:
            result = {"job": number, "run": None, "status": "failed", "reason": "the job left no result"}
        if number not in job.printed:
            print(to_json(result), flush=True)
        results.append(result)
    return results
