"""Trains replicas of one configuration on disjoint parts of the training rows, stacked where that is possible."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from lit_mlfund.callbacks import TrainingDiverged
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules import DataModule
from lit_mlfund.modules import TaskModule
from lit_mlfund.modules.outputs import Outputs
from lit_mlfund.runs.assembly.budget import apply_budget
from lit_mlfund.runs.assembly.objects import build_module
from lit_mlfund.runs.assembly.part import part_of, rows_problem, sized_for
from lit_mlfund.runs.evaluation.retraining import retrained
from lit_mlfund.startup.signals import REQUEST
from lit_mlfund.sweeps.decompose.losses import loss_problem
from lit_mlfund.sweeps.stacked.member import Member
from lit_mlfund.sweeps.stacked.stacked_sweep import unstackable
from lit_mlfund.sweeps.stacked.training import StackedTraining

LEAST_ROWS = 10  # of a part: a training on fewer says nothing


@dataclass(frozen=True)
class Replicas:
    """Describes trained replicas by what they return for the test rows.

    outputs     one for each replica, those of a part side by side
    rows        training rows (queries, for lists): of all, of each part, and those left over
    unstacked   why they were trained one after another; empty where they were stacked
    """

    module: TaskModule
    outputs: list[Outputs]
    rows: dict[str, int]
    unstacked: list[str]


def disjoint_parts(num_rows: int, num_parts: int, seed: int) -> list[Tensor]:
    """Draw disjoint parts of equally many rows.

    Raises:
        ConfigError: the parts would have fewer rows than `LEAST_ROWS`.
    """
    size = num_rows // num_parts
    if size < LEAST_ROWS:
        most = num_rows // LEAST_ROWS
        hint = f"; at most {most} are possible" if most > 1 else ""
        raise ConfigError(
            f"decompose.replicas: {num_parts} disjoint parts of {num_rows:,} training rows have {size} each, "
            f"at least {LEAST_ROWS} are needed{hint}"
        )
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))
    return [part.sort().values for part in order[: size * num_parts].split(size)]


def train_replicas(
    config: dict[str, Any], data: DataModule, num_parts: int, num_starts: int, noise: float | None
) -> Replicas:
    """Train `num_starts` replicas on each of `num_parts` disjoint parts, each with a seed of its own.

    Args:
        config: a checked configuration.
        data: its data module, set up.
        noise: as in `decompose.noise`, which not every task has.

    Raises:
        ConfigError, DataError: the task has no decomposition, or its rows cannot be divided so.
        TrainingDiverged, FloatingPointError: loss, gradient or predictions of a replica were no longer finite.
    """
    module = build_module(_with_budget(config, data), data.spec)
    if problem := loss_problem(module, noise) or rows_problem(data):
        raise ConfigError(problem)
    if problem := module.undefined_monitor(data):
        raise DataError(f"monitor: {problem}")
    num_rows = len(data.stores["train"])
    parts = disjoint_parts(num_rows, num_parts, config["seed"])
    size = len(parts[0])
    configs = [_seeded(config, start) for start in range(num_parts * num_starts)]
    sized = sized_for(data, size)
    rows = [part for part in parts for _ in range(num_starts)]
    numbers = {"train": num_rows, "replica": size, "left_over": num_rows - size * num_parts}
    numbers["test"] = len(data.stores["test"])
    unstacked = list(dict.fromkeys(unstackable(configs)))
    if not unstacked:
        try:
            training = _stacked(configs, sized, rows)
        except ValueError as error:  # a layer without a stacked form
            unstacked = [f"model: {error}"]
    outputs = _one_by_one(configs, data, rows) if unstacked else _together(training, sized)
    return Replicas(module, list(outputs), numbers, unstacked)


def _seeded(config: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the configuration with the seed of one replica, of which it draws weights, batches and dropout."""
    config = copy.deepcopy({key: value for key, value in config.items() if key not in ("decompose", "sweep")})
    config["seed"] += number
    if "seed" in config["data"]:
        config["data"]["seed"] += number
    return config


def _with_budget(config: dict[str, Any], data: DataModule) -> DictConfig:
    node = OmegaConf.create(config)
    apply_budget(node, data)
    return node


def _one_by_one(configs: list[dict[str, Any]], data: DataModule, rows: list[Tensor]) -> Iterator[Outputs]:
    for config, part in zip(configs, rows):
        REQUEST.check()
        served = part_of(data, part)
        if "seed" in config["data"]:
            served.seed = config["data"]["seed"]
        module = retrained(OmegaConf.create(config), served)
        yield cast(Outputs, module.collected["test"]).cpu()


def _stacked(configs: list[dict[str, Any]], data: DataModule, rows: list[Tensor]) -> StackedTraining:
    """Stack all replicas to one model; `data` has all training rows and the budget of a part."""
    members = [Member.of(_with_budget(config, data), data, part) for config, part in zip(configs, rows)]
    return StackedTraining(members, [len(members)], data)


def _together(training: StackedTraining, data: DataModule) -> Iterator[Outputs]:
    members, last = list(training.members), training.config.get("checkpoint") == "last"
    training.fit()
    module, test = members[0].module, list(data.test_dataloader())
    for number, member in enumerate(members):
        if member.failure:
            raise TrainingDiverged(f"replica {number}: {member.failure}")
        module.load_state_dict(member.last_weights if last else member.best_weights)
        yield _evaluated(module, test)


@torch.no_grad()
def _evaluated(module: TaskModule, batches: list[Any]) -> Outputs:
    module.eval()
    for batch in batches:
        module.collect(batch)
    return cast(Outputs, module.drain()[0])
