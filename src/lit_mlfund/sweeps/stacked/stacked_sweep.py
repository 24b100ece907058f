"""Implements `sweep=stacked`: seeds and rates of one small architecture, trained together and measured alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from lit_mlfund.config.compatibility import task_name
from lit_mlfund.config.errors import ConfigError, problems_of
from lit_mlfund.data.serving.store import PointStore
from lit_mlfund.datamodules import DataModule
from lit_mlfund.runs.assembly.budget import apply_budget
from lit_mlfund.runs.assembly.objects import build_data, quiet_lightning, seed_everything
from lit_mlfund.runs.evaluation.publish import show_facts
from lit_mlfund.runs.execution.execute import execute
from lit_mlfund.runs.execution.lifecycle import has_ended
from lit_mlfund.runs.execution.lock import run_lock
from lit_mlfund.runs.execution.run_folder import freeze
from lit_mlfund.runs.execution.way_on import stopped_result
from lit_mlfund.startup.signals import REQUEST, Stopped
from lit_mlfund.sweeps.job import Job
from lit_mlfund.sweeps.plan import Plan
from lit_mlfund.sweeps.stacked.member import Member
from lit_mlfund.sweeps.stacked.training import StackedTraining

# Supported models etc., by the last part of their target: stacked, they train with the same numbers as alone.
MODELS = ("Linear", "MLP")
CLASSIFICATION = ("BinaryCrossEntropyLoss", "CrossEntropyLoss", "FocalLoss", "HingeLoss")
LOSSES = (*CLASSIFICATION, "MSELoss", "MAELoss", "HuberLoss", "QuantileLoss", "PoissonLoss")
OPTIMIZERS = ("adam", "adamw", "sgd")
TASKS = ("binary", "multiclass", "regression")
CALLBACKS = ("EarlyStopping", "WeightStatistics")  # the second only writes to TensorBoard, and is skipped
MAY_DIFFER = ("seed", "optim", "schedule")
TRAINER = {
    "max_steps": -1,
    "max_time": None,
    "accelerator": "cpu",
    "num_nodes": 1,
    "strategy": "auto",
    "precision": ("32-true", "32"),
    "gradient_clip_algorithm": "norm",
    "accumulate_grad_batches": 1,
    "val_check_interval": (None, 1.0),
    "check_val_every_n_epoch": 1,
    "limit_train_batches": 1.0,
    "limit_val_batches": 1.0,
    "overfit_batches": 0,
    "detect_anomaly": False,
    "compile": False,
}


class StackedSweep:
    """Trains all combinations as one model with a leading dimension, then measures each as a run of its own.

    Args:
        plan: a plan whose combinations differ in `seed`, `optim` and `schedule` alone.
    """

    runs_combinations = True

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def problems(self) -> Iterator[str]:
        """Yield what prevents the sweep, one line each."""
        return unstackable([combination.config for combination in self.plan.combinations])

    def __call__(self, job: Job) -> list[dict[str, Any]]:
        """Train, then hand each member over to its run folder; return results in the order of the combinations.

        Only what has to run is trained, as what a member becomes does not depend on the others.
        """
        quiet_lightning()
        place = job.sweep
        configs = {n: _without_sweep(c.config) for n, c in enumerate(self.plan.combinations)}
        missing = [number for number in configs if not place.has_ended_well(number)]
        data: DataModule | None = None
        if missing:  # what is wrong with them is told before anything is written
            data = self._data(configs[0])
            configs = {number: _with_budget(config, data) for number, config in configs.items()}
            stack = _stack({number: configs[number] for number in missing}, data)
        job.begin(len(configs))
        if data is not None:
            show_facts(task_name(configs[0]), data)
        while data is not None:
            with ExitStack() as held:
                mine = place.take(dict(configs), held)
                if not mine:
                    break
                wanted = {
                    number: configs[number] for number in mine if not self._has_ended(number, job, configs)
                }
                if wanted:
                    if wanted.keys() != stack.members.keys():
                        stack = _stack(wanted, data)
                    self._train(stack, wanted, data, job)
                    stack = _Stack({}, None)
        return [result for number in configs if (result := place.result(number)) is not None]

    def _has_ended(self, number: int, job: Job, configs: Mapping[int, dict[str, Any]]) -> bool:
        """Return whether the run of a member has ended, with a result that is recorded here."""
        ended = has_ended(job.sweep.run_folder(number, configs[number]))
        if ended:
            overrides = self.plan.combinations[number].overrides
            job.run(number, overrides, lambda: job.execute(number, configs[number], overrides))
        return ended

    def _train(
        self, stack: _Stack, configs: Mapping[int, dict[str, Any]], data: DataModule, job: Job
    ) -> None:
        folders = {number: job.sweep.run_folder(number, config) for number, config in configs.items()}
        begun = {number for number, folder in folders.items() if folder.exists()}
        for number in folders.keys() - begun:
            overrides = self.plan.combinations[number].overrides
            freeze(configs[number], self.plan.command, folders[number], overrides)
        started = time.perf_counter()
        try:
            assert stack.training is not None
            stack.training.fit()
            share = (time.perf_counter() - started) / len(configs)
            for number, folder in folders.items():
                self._measure(number, stack.members[number], folder, number in begun, data, share, job)
        except Stopped as stopped:
            with REQUEST.deferred():
                for number, folder in folders.items():
                    if number not in job.recorded:
                        self._record_stopped(number, folder, stopped, job)
            raise

    def _data(self, config: dict[str, Any]) -> DataModule:
        seed_everything(config["seed"])
        data = build_data(OmegaConf.create(config))
        data.setup("fit")
        if not isinstance(data.stores["train"], PointStore):
            raise ConfigError("data: sweep=stacked needs rows in memory")
        return data

    def _measure(
        self,
        number: int,
        member: Member,
        folder: Path,
        begun: bool,
        data: DataModule,
        share: float,
        job: Job,
    ) -> None:
        def measure() -> dict[str, Any]:
            with run_lock(folder):
                result = execute(folder, resume=begun, data=data, train=member.hand_over)
            return result | {"seconds": round(result["seconds"] + share, 3)}

        job.run(number, self.plan.combinations[number].overrides, measure)

    def _record_stopped(self, number: int, folder: Path, stopped: Stopped, job: Job) -> None:
        again = Stopped(f"{stopped.reason}; when resumed, the run starts from the beginning", stopped.number)
        result = stopped_result(again, folder)
        with suppress(Stopped):  # all jobs must be recorded before the sweep stops
            job.run(number, self.plan.combinations[number].overrides, lambda: result)


@dataclass
class _Stack:
    """Holds members by the number of their job, and what trains them together."""

    members: dict[int, Member]
    training: StackedTraining | None


def _stack(configs: Mapping[int, dict[str, Any]], data: DataModule) -> _Stack:
    """Build the members of these jobs; ConfigError where that fails."""
    order = sorted(configs, key=lambda number: (_cohort(configs, number), number))
    try:
        members = {number: Member.of(OmegaConf.create(configs[number]), data) for number in order}
        sizes = _sizes([_cohort(configs, number) for number in order])
        return _Stack(members, StackedTraining(list(members.values()), sizes, data))
    except ValueError as error:
        raise ConfigError(problems_of(error) or [f"sweep=stacked: {error}"]) from error


def _without_sweep(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of the run by itself, with which it can be repeated."""
    return {key: value for key, value in config.items() if key != "sweep"}


def _with_budget(config: dict[str, Any], data: DataModule) -> dict[str, Any]:
    """Return the configuration with the numbers that follow from the training rows."""
    node = OmegaConf.create(config)
    apply_budget(node, data)
    return cast(dict[str, Any], OmegaConf.to_container(node))


def unstackable(configs: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the reasons why these configurations cannot be trained as one stacked model, one line each."""
    first = configs[0]
    for key in first:
        if key not in (*MAY_DIFFER, "data", "name") and any(config[key] != first[key] for config in configs):
            yield f"{key}: sweep=stacked needs one for all runs; they may differ in {', '.join(MAY_DIFFER)}"
    if any({**config["data"], "seed": 0} != {**first["data"], "seed": 0} for config in configs):
        yield "data: sweep=stacked needs one for all runs"
    if any(config["optim"].get("lr_by_pattern") != first["optim"].get("lr_by_pattern") for config in configs):
        yield "optim.lr_by_pattern: sweep=stacked needs one for all runs"
    for config in configs:
        yield from _unstackable(config)


def _unstackable(config: dict[str, Any]) -> Iterator[str]:
    for section, known in (("model", MODELS), ("loss", LOSSES), ("optim", OPTIMIZERS)):
        name = _name(config[section])
        if name not in known or not config[section]["_target_"].startswith("lit_mlfund."):
            yield f"{section}: sweep=stacked cannot stack {name}, only {', '.join(known)}"
    if config["shape"] not in TASKS:
        yield f"task: sweep=stacked cannot stack {config['shape']}, only {', '.join(TASKS)}"
    for key, node in config["callbacks"].items():
        if node is not None and _name(node) not in CALLBACKS:
            yield f"callbacks.{key}: sweep=stacked does not support {_name(node)}"
    for key, node in config["regularization"].items():
        if node is not None:
            yield f"regularization.{key}: sweep=stacked does not support {_name(node)}"
    if config.get("embedding"):
        yield "embedding: sweep=stacked trains embeddings like the rest of the model; leave it out"
    if config.get("schedule") and _name(config["schedule"]) == "reduce_on_plateau":
        yield "schedule: sweep=stacked needs one that does not depend on the results of a run"
    if config["optim"].get("lr") == "auto":
        yield "optim.lr: sweep=stacked needs numbers"
    if config["optim"].get("fused") is False:
        yield "optim.fused: sweep=stacked uses the fused kernels; leave it out"
    if not config["train"]:
        yield "train: sweep=stacked trains; leave out train=false"
    if config["task"].get("target_transform", "none") != "none":
        yield "task.target_transform: sweep=stacked trains on the target as it is; leave it out"
    if config["model"].get("code_dropout"):
        yield "model.code_dropout: sweep=stacked cannot draw it as each run would; set it to 0"
    for key, supported in TRAINER.items():
        allowed = supported if isinstance(supported, tuple) else (supported,)
        if config["trainer"].get(key, allowed[0]) not in allowed:
            yield f"trainer.{key}: sweep=stacked needs {allowed[0]}, got {config['trainer'][key]}"
    if str(config["trainer"].get("devices", 1)) not in ("1", "auto"):
        yield "trainer.devices: sweep=stacked trains in one process"


def _name(node: dict[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def _cohort(configs: Mapping[int, dict[str, Any]], number: int) -> int:
    """Return the number of the first combination with the same optimizer and schedule."""
    own = configs[number]
    return next(
        other
        for other, config in configs.items()
        if config["optim"] == own["optim"] and config.get("schedule") == own.get("schedule")
    )


def _sizes(cohorts: list[int]) -> list[int]:
    return [cohorts.count(cohort) for cohort in dict.fromkeys(cohorts)]
