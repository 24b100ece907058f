"""Keeps the trials of a search in an Optuna study that several processes share and that outlives all of them.

Trial and job are linked by the number of the job, which a trial has as an attribute. What is proposed for a job depends
on its number, the seed and the trials that have ended: a search that was killed and goes on proposes the same.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from lit_mlfund.config.errors import ConfigError, first_line
from lit_mlfund.runs.assembly.trial import JOURNAL, open_storage
from lit_mlfund.sweeps.space import Choices, Dimension

DIGEST, JOB = (
    "lit_mlfund.digest",
    "lit_mlfund.job",
)  # attributes: of a study its command's, of a trial its job
WORDS: dict[str, Any] = {"max": "maximize", "min": "minimize"}


@dataclass
class SearchStudy:
    """Proposes trials and records how they ended.

    space       what is searched
    sampler     tpe, random, grid or cmaes
    seed        of the sampler
    startup     trials that tpe draws at random
    """

    study: optuna.Study
    space: list[Dimension]
    sampler: str
    seed: int
    startup: int

    @property
    def trials(self) -> dict[int, FrozenTrial]:
        """Return the trials by the number of their job, in order."""
        found = self.study.get_trials(deepcopy=False)
        jobs = {int(trial.user_attrs[JOB]): trial for trial in found if JOB in trial.user_attrs}
        return dict(sorted(jobs.items()))

    def points(self) -> list[dict[str, Any]]:
        """Return all points of a grid, in order: the last dimension varies fastest."""
        values = [[(dimension.key, value) for value in dimension.points or ()] for dimension in self.space]
        return [dict(point) for point in itertools.product(*values)]

    def propose(self) -> int | None:
        """Begin a new trial and return the number of its job; None where a grid has no more points.

        Nobody else may propose meanwhile. A trial without a job is what a kill has left of an earlier call.
        """
        for begun in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if JOB not in begun.user_attrs:
                self.study.tell(begun.number, state=TrialState.FAIL)
        number = max(self.trials, default=-1) + 1
        if self.sampler == "grid":
            points = self.points()
            if number >= len(points):
                return None
            self.study.enqueue_trial(points[number], user_attrs={JOB: number})
        self.study.sampler = self._sampler(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self.study.ask({dimension.key: distribution(dimension) for dimension in self.space})
        trial.set_user_attr(JOB, number)
        return number

    def _sampler(self, number: int) -> BaseSampler:
        seed = (self.seed * 1_000_003 + number) % 2**31
        if self.sampler == "tpe":
            return TPESampler(seed=seed, n_startup_trials=self.startup)
        if self.sampler == "cmaes":
            return CmaEsSampler(seed=self.seed % 2**31, independent_sampler=RandomSampler(seed=seed))
        return RandomSampler(seed=seed)

    def values(self, number: int) -> dict[str, Any]:
        """Return the values of a trial by key."""
        if self.sampler == "grid":
            return self.points()[number]
        params = self.trials[number].params
        return {dimension.key: params[dimension.key] for dimension in self.space}

    def tell(self, number: int, status: str, values: Sequence[float | None]) -> None:
        """Record how the trial of a job ended, unless that is recorded."""
        trial = self.trials[number]
        if trial.state.is_finished():
            return
        if status == "pruned":
            self.study.tell(trial.number, state=TrialState.PRUNED)
        elif status == "done" and all(value is not None and not math.isnan(value) for value in values):
            self.study.tell(trial.number, [float(value) for value in values if value is not None])
        else:
            self.study.tell(trial.number, state=TrialState.FAIL)


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return Optuna's description of a dimension."""
    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.values)
    if dimension.is_integer:
        step = int(dimension.step or 1)
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return FloatDistribution(
        float(dimension.low), float(dimension.high), log=dimension.log, step=dimension.step
    )


def address_of(storage: str, folder: Path) -> str:
    """Return the address of `sweep.storage`: a URL, or a file in the folder of the sweep."""
    if storage == "journal":
        return f"{JOURNAL}{folder / 'study.journal'}"
    if storage == "sqlite":
        return f"sqlite:///{folder / 'study.db'}"
    if storage.startswith(JOURNAL):
        return f"{JOURNAL}{Path(storage.removeprefix(JOURNAL)).expanduser().absolute()}"
    return storage


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Raise a ConfigError where a storage cannot be opened."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # whatever drivers of databases raise
        raise ConfigError(f"sweep.storage: {address} cannot be used: {first_line(error)}") from error


def check_storage(address: str, folder: Path, name: str, digest: str) -> None:
    """Raise ConfigError where a storage cannot be opened, or holds a study of that name by another command.

    A file that is not there is not created.

    Args:
        address: of the storage.
        folder: of the sweep, which need not exist.
        name: of the study.
        digest: of the command.
    """
    file = _file_of(address)
    if file is not None and not file.exists():
        if file.parent != folder and not file.parent.is_dir():
            raise ConfigError(f"sweep.storage: there is no folder {file.parent}")
        return
    with explained(address):
        storage = open_storage(address)
        studies = {study.study_name: study for study in optuna.get_all_study_summaries(storage)}
    found = studies.get(name)
    if found is not None and found.n_trials and found.user_attrs.get(DIGEST) != digest:
        raise ConfigError(
            f"sweep.storage: {address} holds a study {name} of another command; name another one with sweep.study=…"
        )


def _file_of(address: str) -> Path | None:
    for begin in (JOURNAL, "sqlite:///"):
        if address.startswith(begin):
            return Path(address.removeprefix(begin)).absolute()
    return None


def make_study(address: str, name: str, digest: str, directions: Sequence[str]) -> optuna.Study:
    """Open the study of a command, or create it."""
    with explained(address):
        study = optuna.create_study(
            storage=open_storage(address),
            study_name=name,
            directions=[WORDS[direction] for direction in directions],
            load_if_exists=True,
        )
        if study.user_attrs.get(DIGEST) != digest:  # a new one
            study.set_user_attr(DIGEST, digest)
    return study
