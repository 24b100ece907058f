"""Implements `sweep=search`, which trains what Optuna proposes, trial after trial."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from lit_mlfund.atomic import to_json, write_json
from lit_mlfund.callbacks.checkpoint_file import read_checkpoint
from lit_mlfund.config.compatibility import direction
from lit_mlfund.config.errors import ConfigError, suggestion
from lit_mlfund.config.signatures import describe
from lit_mlfund.runs.assembly.trial import linked
from lit_mlfund.runs.execution.way_on import CRASHED
from lit_mlfund.startup.signals import REQUEST
from lit_mlfund.startup.streams import say_json, say_result, warn
from lit_mlfund.sweeps.job import Job
from lit_mlfund.sweeps.lease import acquire
from lit_mlfund.sweeps.plan import Plan, fixed_lines
from lit_mlfund.sweeps.space import Choices, Numbers, setting

if TYPE_CHECKING:  # it imports optuna, which may be missing
    from lit_mlfund.sweeps.search.study import SearchStudy

_POLL = 0.2  # seconds between two looks at what other processes do
PACKAGES = {"optuna": "sweep=search", "cmaes": "sweep.sampler=cmaes"}


class SearchSweep:
    """Trains one configuration after another, as a sampler of Optuna proposes, and ends those that do worse.

    Values are compared on the validation split; the test split is not used. Processes that run the same command share
    the study, and take their trials from it.

    Args:
        plan: a plan with a space.
        space: what is searched, as in `conf/sweep/search.yaml`; the plan has read it.
        trials: number of trials, of all commands together; None for all points of a grid.
        minutes: no trial starts that would likely end later; None for no limit.
        sampler: tpe, random, grid or cmaes.
        pruner: median, halving, hyperband or none, at each validation.
        startup: trials that tpe draws at random, and that median prunes none of.
        objectives: names of validation metrics to improve together; None for the monitored one.
        storage: `journal` or `sqlite` in the folder of the sweep, or an address.
        study: name in the storage.
    """

    runs_combinations = False

    def __init__(
        self,
        plan: Plan,
        *,
        space: dict[str, Any] | None = None,
        trials: int | None = 20,
        minutes: float | None = None,
        sampler: Literal["tpe", "random", "grid", "cmaes"] = "tpe",
        pruner: Literal["median", "halving", "hyperband", "none"] = "median",
        startup: int = 5,
        objectives: list[str] | None = None,
        storage: str = "journal",
        study: str | None = None,
    ) -> None:
        self.plan, self.sampler, self.pruner, self.startup = plan, sampler, pruner, startup
        self.trials, self.minutes, self.storage = trials, minutes, storage
        self.config = plan.combinations[0].config
        self.objectives = objectives or [self.config["monitor"]]
        self.name = study or plan.folder.name
        self._crashed: set[int] = set()  # jobs of this process, which the same command resumes

    def problems(self) -> Iterator[str]:
        """Yield what prevents the search, one line each."""
        missing = [name for name in PACKAGES if name == "optuna" or self.sampler == name]
        missing = [name for name in missing if importlib.util.find_spec(name) is None]
        for name in missing:
            yield f"{PACKAGES[name]}: needs {name}, which is not installed; pip install 'lit_mlfund[optuna]'"
        if not self.config["train"]:
            yield "train: sweep=search trains; leave out train=false"
        if self.trials is not None and self.trials < 1:
            yield f"sweep.trials: expected at least 1, got {self.trials}"
        if self.trials is None and self.sampler != "grid" and self.minutes is None:
            yield f"sweep.trials: sampler={self.sampler} has no end; say sweep.trials= or sweep.minutes="
        if self.minutes is not None and not self.minutes > 0:
            yield f"sweep.minutes: expected more than 0, got {self.minutes:g}"
        if self.startup < 0:
            yield f"sweep.startup: must not be negative, got {self.startup}"
        monitored = dict.fromkeys(combination.config["monitor"] for combination in self.plan.combinations)
        if len(monitored) > 1:
            yield f"monitor: a search compares one value, not {', '.join(monitored)}; say monitor="
        yield from self._wrong_objectives()
        yield from self._wrong_sampler()
        if not missing:
            from lit_mlfund.sweeps.search.study import address_of, check_storage

            try:
                address = address_of(self.storage, self.plan.folder)
                check_storage(address, self.plan.folder, self.name, self.plan.sweep.digest)
            except ConfigError as error:
                yield from error.problems

    def _metrics(self) -> Mapping[str, str]:
        known: Mapping[str, str] = describe(self.config["task"]["_target_"]).attributes.get("metrics", {})
        return {"val/loss": "min", **{f"val/{name}": better for name, better in known.items()}}

    def _directions(self) -> list[str]:
        known = self._metrics()
        monitor = {self.config["monitor"]: direction(self.config)}
        return [known.get(name) or monitor.get(name, "min") for name in self.objectives]

    def _wrong_objectives(self) -> Iterator[str]:
        known = {self.config["monitor"]: "", **self._metrics()}
        for name in self.objectives:
            if name not in known:
                yield f"sweep.objectives: there is no {name}; {suggestion(name, known)}"
        if len(set(self.objectives)) < len(self.objectives):
            yield f"sweep.objectives: one is given twice: {', '.join(self.objectives)}"
        if len(self.objectives) > 1 and self.pruner != "none":
            yield "sweep.pruner: trials are pruned by one objective; with several say sweep.pruner=none"
        if len(self.objectives) > 1 and self.sampler == "cmaes":
            yield "sweep.sampler: cmaes improves one objective; with several say sweep.sampler=tpe"

    def _wrong_sampler(self) -> Iterator[str]:
        if self.sampler == "grid":
            for dimension in self.plan.space:
                if dimension.points is None:
                    yield f"sweep.space.{dimension.key}: sampler=grid needs choices, or numbers with a step"
        if self.sampler == "cmaes":
            for dimension in self.plan.space:
                if isinstance(dimension, Choices):
                    yield f"sweep.space.{dimension.key}: sampler=cmaes searches numbers alone, not choices"
            if sum(isinstance(dimension, Numbers) for dimension in self.plan.space) < 2:
                yield "sweep.space: sampler=cmaes needs at least two numbers"

    def __call__(self, job: Job) -> list[dict[str, Any]]:
        """Run trials until there are enough, print each as it ends and the summary, and return that alone."""
        from lit_mlfund.sweeps.search.study import SearchStudy, address_of, make_study

        place = job.sweep
        place.reruns_failed = False  # a trial that failed has told what it could
        job.begin()
        self.address = address_of(self.storage, place.path)
        made = make_study(self.address, self.name, place.digest, self._directions())
        study = SearchStudy(made, self.plan.space, self.sampler, int(self.config["seed"]), self.startup)
        started, told = time.perf_counter(), False
        while True:
            with ExitStack() as held:
                number = self._next(study, job, held, started)
                if number is not None:
                    self._train(study, number, job)
                    continue
            finished = not self._unfinished(study)
            if finished and self._is_over(study, job, started):
                break
            if not (finished or told):
                told = True
                warn("sweep: waiting for the trials of other processes")
            time.sleep(_POLL)
            REQUEST.check()
        return [self._summary(study, job, time.perf_counter() - started)]

    def _next(self, study: SearchStudy, job: Job, held: ExitStack, started: float) -> int | None:
        """Lease the job of a trial that nobody is at, or of a new one; None where there is none now."""
        place = job.sweep
        alone = acquire(place.leases, "study")
        if alone is None:
            return None
        try:
            begun = self._unfinished(study)
            number = next((number for number in begun if place.holder(number) is None), None)
            if number is None and not self._is_over(study, job, started):
                number = study.propose()
            return number if number is not None and held.enter_context(place.leased(number)) else None
        finally:
            alone.release()

    def _unfinished(self, study: SearchStudy) -> list[int]:
        """Return the jobs of the trials that have not ended, but for those that crashed here."""
        begun = (number for number, trial in study.trials.items() if not trial.state.is_finished())
        return [number for number in begun if number not in self._crashed]

    def _is_over(self, study: SearchStudy, job: Job, started: float) -> bool:
        """Return whether no new trial starts."""
        if self.trials is not None and len(study.trials) >= self.trials:
            return True
        if self.sampler == "grid" and len(study.trials) >= len(study.points()):
            return True
        if self.minutes is None:
            return False
        seconds = [float(result.get("seconds") or 0) for result in job.sweep.results().values()]
        return bool(seconds) and time.perf_counter() - started + max(seconds) > 60 * self.minutes

    def _train(self, study: SearchStudy, number: int, job: Job) -> None:
        lines = [setting(key, value) for key, value in study.values(number).items()]
        overrides = [*self.plan.combinations[0].overrides[: -len(lines)], *lines]
        link = {
            "storage": self.address,
            "study": self.name,
            "trial": study.trials[number].number,
            "pruner": [self.pruner, self.startup],
        }

        def execute() -> dict[str, Any]:
            composed = self.plan.composer.checked(
                [*fixed_lines(self.plan.overrides), *lines, *self.plan.deletions]
            )
            config = {key: value for key, value in composed.config.items() if key != "sweep"}
            with linked(link if self.pruner != "none" else None):
                return job.execute(number, config | {"test": False, "references": False}, overrides)

        if job.sweep.has_to_run(number):
            result = job.run(number, overrides, execute)
        else:
            result = job.sweep.result(number) or {}
        if result.get("status") == CRASHED:
            self._crashed.add(number)
            return
        study.tell(number, str(result.get("status")), self._values(result))

    def _values(self, result: Mapping[str, Any]) -> list[float | None]:
        """Return the values of the objectives at the best checkpoint."""
        if self.objectives == [self.config["monitor"]]:
            return [(result.get("objective") or {}).get("value")]
        if result.get("status") != "done":
            return []
        best = read_checkpoint(f"{result['run']}/checkpoints/best.ckpt", mmap=True)
        last: Mapping[str, float] = best["callbacks"]["Progress"]["history"][-1]
        return [last.get(name) for name in self.objectives]

    def _summary(self, study: SearchStudy, job: Job, seconds: float) -> dict[str, Any]:
        results = job.sweep.results()
        trials = [
            {
                "job": number,
                "params": study.values(number),
                "values": trial.values,
                "status": results[number]["status"],
                "run": results[number]["run"],
            }
            for number, trial in study.trials.items()
            if number in results
        ]
        numbers = {trial.number: number for number, trial in study.trials.items()}
        best = [numbers[trial.number] for trial in study.study.best_trials if trial.number in numbers]
        front = [trial for trial in trials if trial["job"] in best]
        if len(self.objectives) == 1:
            front = front[:1]
        summary: dict[str, Any] = {
            "sweep": str(job.sweep.path),
            "status": "done" if front else "failed",
            "objectives": dict(zip(self.objectives, self._directions())),
            "best": front,
            "overrides": [
                " ".join(setting(key, value) for key, value in trial["params"].items()) for trial in front
            ],
            "trials": trials,
            "storage": self.address,
            "study": self.name,
            "seconds": round(seconds, 3),
        }
        if not front:
            summary["reason"] = "no training was completed"
        write_json(job.sweep.path / "search.json", summary)
        self._print(summary, results)
        return summary

    def _print(self, summary: dict[str, Any], results: Mapping[int, dict[str, Any]]) -> None:
        from lit_mlfund.reports.comparison.sweep_table import sweep_text

        say_result(sweep_text(list(results.values()), direction(self.config)))
        for trial, line in zip(summary["best"], summary["overrides"]):
            values = ", ".join(f"{name} {value:.4g}" for name, value in zip(self.objectives, trial["values"]))
            say_result(f"{line}  ({values}; {trial['run']})")
        shown = self.address.removeprefix("journal:")
        say_result(f"all trials: optuna-dashboard {shown}")
        say_json(to_json(summary))
