"""What a sweep is made of: its combinations, all composed and checked before the first of them starts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import IntervalSweep, Override

from lit_mlfund.config.compose import Composed, Composer
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.overrides import Overrides, parse, read_overrides
from lit_mlfund.sweeps import optuna_sweeper

_MAX_LISTED = 3  # jobs named beside a problem that not all of them have


@dataclass(frozen=True)
class Combination:
    """One job: its overrides, and its checked configuration."""

    overrides: list[str]
    config: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A sweep that can start.

    composer      what composed it
    asked         its overrides
    first         the first combination, with Hydra's part
    combinations  all of them; one that stands for all where a sweeper of its own makes them up as it goes
    folder        where what belongs to the whole sweep goes
    config_dir    as on the command line
    command       what was typed
    """

    composer: Composer
    asked: Overrides
    first: Composed
    combinations: list[Combination]
    folder: Path
    config_dir: str | None = None
    command: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether the combinations are those of the command line, and not a sweeper's of its own."""
        return _is_basic(self.first)

    @property
    def is_here(self) -> bool:
        """Whether the jobs run one after the other in this process, and nobody asked Hydra for anything else."""
        hydra = self.first.hydra
        own = hydra.callbacks or hydra.job.env_set or hydra.job.env_copy or hydra.job.chdir
        return self.is_known and str(hydra.launcher._target_).endswith(".BasicLauncher") and not own

    @property
    def deletions(self) -> tuple[str, ...]:
        """Values to delete after composing (`~data.time`)."""
        return tuple(str(override.input_line) for override in self.asked.deleted)


def plan_sweep(lines: Sequence[str], config_dir: str | None, command: Sequence[str] = ()) -> Plan:
    """Compose and check every combination; raises ConfigError with the problems of all of them."""
    composer = Composer(config_dir, lines)
    asked = read_overrides(lines, composer.catalog, sweep=True)
    deletions = [str(override.input_line) for override in asked.deleted]
    first = composer.compose([*_representative(asked), *deletions])
    lines_of_jobs = _alternatives(asked)
    if _is_basic(first):
        asked = _with_parameters(asked, first, lines, composer)
        lines_of_jobs = [list(job) for job in BasicSweeper.split_arguments(_parsed(asked), None)[0]]
    combinations, found = _composed(composer, lines_of_jobs, deletions)
    problems = [*asked.problems, *found]
    if not _is_basic(first):
        monitored = [combination.config["monitor"] for combination in combinations]
        problems += optuna_sweeper.problems(first, typed(asked), monitored)
        combinations = combinations[:1]
    if problems:
        raise ConfigError(problems)
    return Plan(composer, asked, first, combinations, _folder(first, asked), config_dir, tuple(command))


def typed(asked: Overrides) -> set[str]:
    """The keys and groups of the command line."""
    return {override.key_or_group for override in _parsed(asked)}


def _is_basic(composed: Composed) -> bool:
    return str(composed.hydra.sweeper._target_).endswith(".BasicSweeper")


def _parsed(asked: Overrides) -> list[Override]:
    return [parse(line) for line in asked.lines]


def _representative(asked: Overrides) -> list[str]:
    """The overrides of one job of the sweep: the first of each choice, the start of each interval."""
    return [next(_values(override)) for override in _parsed(asked)]


def _alternatives(asked: Overrides) -> list[list[str]]:
    """That job, and one for each other choice and end of an interval, the rest as it is."""
    first = _representative(asked)
    others = [
        [*first[:place], line, *first[place + 1 :]]
        for place, override in enumerate(_parsed(asked))
        for line in islice(_values(override), 1, None)
    ]
    return [first, *others]


def _values(override: Override) -> Iterator[str]:
    """The lines that an override stands for: of each choice, of both ends of a range or an interval."""
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
    asked: Overrides, first: Composed, lines: Sequence[str], composer: Composer
) -> Overrides:
    """Add the sweeps that a configuration file asks for in `hydra.sweeper.params`; the command line wins."""
    parameters = first.hydra.sweeper.params or {}
    added = [f"{key}={values}" for key, values in parameters.items()]
    if not parameters:
        return asked
    return read_overrides([*added, *lines, "hydra.sweeper.params=null"], composer.catalog, sweep=True)


def _composed(
    composer: Composer, lines_of_jobs: list[list[str]], deletions: list[str]
) -> tuple[list[Combination], Iterator[str]]:
    """Every combination, and each problem once."""
    combinations: list[Combination] = []
    found: dict[str, list[str]] = {}
    common = set(lines_of_jobs[0]).intersection(*lines_of_jobs[1:])
    for lines in lines_of_jobs:
        label = " ".join(line.lstrip("+") for line in lines if line not in common)
        try:
            composed = composer.compose([*lines, *deletions])
            problems = composed.problems
            own = [line for line in lines if not parse(line).is_hydra_override()]
            combinations.append(Combination(own, composed.config))
        except ConfigError as error:
            problems = error.problems
        for problem in dict.fromkeys(problems):
            found.setdefault(problem, []).append(label)
    return combinations, _told(found, len(lines_of_jobs))


def _told(found: dict[str, list[str]], num_jobs: int) -> Iterator[str]:
    """Problems, with the jobs that have them where not all of them do."""
    for problem, labels in found.items():
        if len(labels) == num_jobs:
            yield problem
        else:
            more = f" and {len(labels) - _MAX_LISTED} more" if len(labels) > _MAX_LISTED else ""
            yield f"{problem}  [{'; '.join(labels[:_MAX_LISTED])}{more}]"


def _folder(first: Composed, asked: Overrides) -> Path:
    """Below `runs_dir`, unless Hydra's own key names another one."""
    if "hydra.sweep.dir" in typed(asked):
        return Path(str(first.hydra.sweep.dir)).absolute()
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{first.config['name']}-{secrets.token_hex(3)}"
    return Path(first.config["runs_dir"]).expanduser().absolute() / "sweeps" / name
