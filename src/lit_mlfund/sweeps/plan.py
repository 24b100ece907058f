"""Plans a sweep: composes and checks all its combinations before the first of them starts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import IntervalSweep, Override

from lit_mlfund.config.compose import Composed, Composer
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.overrides import Overrides, parse, read_overrides
from lit_mlfund.sweeps.space import Dimension, read_space, setting
from lit_mlfund.sweeps.sweep_folder import SweepFolder, digest_of

_MAX_LISTED = 3  # jobs listed beside a problem that only some jobs have


@dataclass(frozen=True)
class Combination:
    """Holds the overrides and the checked configuration of one job."""

    overrides: list[str]
    config: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Describes a checked sweep that can start.

    composer      composes its configurations
    overrides     overrides of the command line and of `hydra.sweeper.params`
    first         the first combination, with Hydra's part
    combinations  all of them; a single representative where they are proposed as it goes
    sweep         its folder, which nothing has created so far
    space         what a search varies, beside the lines of the combination; empty for other sweeps
    config_dir    as on the command line
    command       the command line as typed
    """

    composer: Composer
    overrides: Overrides
    first: Composed
    combinations: list[Combination]
    sweep: SweepFolder
    space: list[Dimension]
    config_dir: str | None = None
    command: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Return the folder for the files of the whole sweep."""
        return self.sweep.path

    @property
    def is_enumerated(self) -> bool:
        """Check whether the combinations are those of the command line, not proposed by another sweeper."""
        return _is_basic(self.first)

    @property
    def is_in_process(self) -> bool:
        """Check whether the jobs run one after the other in this process, without further services of Hydra."""
        hydra = self.first.hydra
        services = hydra.callbacks or hydra.job.env_set or hydra.job.env_copy or hydra.job.chdir
        basic = str(hydra.launcher._target_).endswith(".BasicLauncher")
        return self.is_enumerated and basic and not services

    @property
    def deletions(self) -> tuple[str, ...]:
        """Return the values to delete after composing (`~data.time`)."""
        return tuple(str(override.input_line) for override in self.overrides.deleted)


def plan_sweep(
    lines: Sequence[str], config_dir: str | None, command: Sequence[str] = (), fresh: bool = False
) -> Plan:
    """Compose and check every combination, and find the folder of the same command unless it is to be a fresh one.

    Raises:
        ConfigError: with the problems of all combinations; or the folder is of another command.
    """
    composer = Composer(config_dir, lines)
    overrides = read_overrides(lines, composer.catalog, sweep=True)
    deletions = [str(override.input_line) for override in overrides.deleted]
    first = composer.compose([*_representative(overrides), *deletions])
    jobs = _alternatives(overrides)
    if _is_basic(first) and not is_search(first):
        overrides = _with_parameters(overrides, first, lines, composer)
        jobs = [list(job) for job in BasicSweeper.split_arguments(_parsed(overrides), None)[0]]
    space: list[Dimension] = []
    if is_search(first):
        space, wrong = read_space(first.config["sweep"].get("space") or {}, _parsed(overrides))
        if wrong:
            raise ConfigError([*overrides.problems, *wrong])
        jobs = _trials(overrides, space)
    combinations, job_problems = _compose_all(composer, jobs, deletions)
    problems = [*overrides.problems, *job_problems]
    if not _is_basic(first):
        monitored = dict.fromkeys(combination.config["monitor"] for combination in combinations)
        if len(monitored) > 1:
            problems.append(f"monitor: a sweeper compares one value, not {', '.join(monitored)}")
        combinations = combinations[:1]
    if problems:
        raise ConfigError(problems)
    place = _place(first, overrides, combinations, command, fresh)
    return Plan(composer, overrides, first, combinations, place, space, config_dir, tuple(command))


def is_search(composed: Composed) -> bool:
    """Return whether `sweep=search` proposes the combinations."""
    return str((composed.config.get("sweep") or {}).get("_target_", "")).endswith(".SearchSweep")


def fixed_lines(overrides: Overrides) -> list[str]:
    """Return the overrides that all trials of a search share."""
    return [str(parsed.input_line) for parsed in _parsed(overrides) if not parsed.is_sweep_override()]


def _trials(overrides: Overrides, space: Sequence[Dimension]) -> list[list[str]]:
    """Return the trial with the first value of each dimension, and one for each other end or choice."""
    fixed = fixed_lines(overrides)
    first = [setting(dimension.key, dimension.ends[0]) for dimension in space]
    others = [
        [*first[:index], setting(dimension.key, value), *first[index + 1 :]]
        for index, dimension in enumerate(space)
        for value in dimension.ends[1:]
    ]
    return [[*fixed, *lines] for lines in (first, *others)]


def typed_keys(overrides: Overrides) -> set[str]:
    """Return the keys and groups of the overrides."""
    return {override.key_or_group for override in _parsed(overrides)}


def _is_basic(composed: Composed) -> bool:
    return str(composed.hydra.sweeper._target_).endswith(".BasicSweeper")


def _parsed(overrides: Overrides) -> list[Override]:
    return [parse(line) for line in overrides.lines]


def _representative(overrides: Overrides) -> list[str]:
    """Return the overrides of one job of the sweep: the first of each choice, the start of each interval."""
    return [next(_values(override)) for override in _parsed(overrides)]


def _alternatives(overrides: Overrides) -> list[list[str]]:
    """Return the representative job, and one for each other choice and end of an interval, the rest unchanged."""
    first = _representative(overrides)
    others = [
        [*first[:index], line, *first[index + 1 :]]
        for index, override in enumerate(_parsed(overrides))
        for line in islice(_values(override), 1, None)
    ]
    return [first, *others]


def _values(override: Override) -> Iterator[str]:
    """Yield the lines that an override stands for: of each choice, of both ends of a range or an interval."""
    key = override.get_key_element()
    if override.is_range_sweep():
        values = list(override.sweep_string_iterator())
        yield from (f"{key}={value}" for value in dict.fromkeys((values[0], values[-1])))
    elif override.is_discrete_sweep():
        yield from (f"{key}={value}" for value in override.sweep_string_iterator())
    elif override.is_sweep_override():
        value = override.value()
        assert isinstance(value, IntervalSweep)
        yield from (f"{key}={end}" for end in (value.start, value.end))
    else:
        yield str(override.input_line)


def _with_parameters(
    overrides: Overrides, first: Composed, lines: Sequence[str], composer: Composer
) -> Overrides:
    """Add the sweeps that a configuration file defines in `hydra.sweeper.params`; the command line wins."""
    parameters = first.hydra.sweeper.params or {}
    added = [f"{key}={values}" for key, values in parameters.items()]
    if not parameters:
        return overrides
    return read_overrides([*added, *lines, "hydra.sweeper.params=null"], composer.catalog, sweep=True)


def _compose_all(
    composer: Composer, jobs: list[list[str]], deletions: list[str]
) -> tuple[list[Combination], Iterator[str]]:
    """Compose every job, given by its overrides; return the combinations, and each problem once."""
    combinations: list[Combination] = []
    jobs_with: dict[str, list[str]] = {}  # problem -> labels of the jobs that have it
    common = set(jobs[0]).intersection(*jobs[1:])
    for lines in jobs:
        label = " ".join(line.lstrip("+") for line in lines if line not in common)
        try:
            composed = composer.compose([*lines, *deletions])
            problems = composed.problems
            own = [line for line in lines if not parse(line).is_hydra_override()]
            combinations.append(Combination(own, composed.config))
        except ConfigError as error:
            problems = error.problems
        for problem in dict.fromkeys(problems):
            jobs_with.setdefault(problem, []).append(label)
    return combinations, _format_problems(jobs_with, len(jobs))


def _format_problems(jobs_with: dict[str, list[str]], num_jobs: int) -> Iterator[str]:
    """Yield each problem, followed by the jobs that have it where not all of them do."""
    for problem, labels in jobs_with.items():
        if len(labels) == num_jobs:
            yield problem
        else:
            more = f" and {len(labels) - _MAX_LISTED} more" if len(labels) > _MAX_LISTED else ""
            yield f"{problem}  [{'; '.join(labels[:_MAX_LISTED])}{more}]"


def _place(
    first: Composed,
    overrides: Overrides,
    combinations: Sequence[Combination],
    command: Sequence[str],
    fresh: bool,
) -> SweepFolder:
    """Return the folder of the sweep: below `runs_dir`, unless `hydra.sweep.dir` names another one.

    A sweeper of another package proposes what it has not remembered: its sweeps are new ones each time.
    """
    name = str(first.config["name"])
    digest = digest_of([combination.config for combination in combinations])
    if not _is_basic(first):
        digest, fresh = secrets.token_hex(32), False
    if "hydra.sweep.dir" in typed_keys(overrides):
        place = SweepFolder(Path(str(first.hydra.sweep.dir)).absolute(), name, digest, command)
    else:
        parent = Path(first.config["runs_dir"]).expanduser().absolute() / "sweeps"
        place = SweepFolder.locate(parent, name, digest, command, fresh=fresh)
    place.check(fresh)
    return place
