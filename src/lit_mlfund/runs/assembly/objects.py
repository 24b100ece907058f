"""Builds the objects of a run from its checked configuration."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lit_mlfund.callbacks import BestAndLast, PreemptionFlag, Progress, StopOnPreemption
from lit_mlfund.config.compatibility import direction
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.instantiate import instantiate, is_own
from lit_mlfund.config.schema import SECTIONS
from lit_mlfund.config.signatures import describe
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.datamodules import DataModule
from lit_mlfund.modules import TaskModule
from lit_mlfund.optim import Combined, parameter_groups
from lit_mlfund.optim.native import tensors
from lit_mlfund.runs.assembly.loggers import build_loggers
from lit_mlfund.runs.assembly.outside_models import PlainModel, materialize


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and Python; zero is a seed like any other."""
    import random

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def build_data(config: DictConfig) -> DataModule:
    """The data module as configured; nothing is read before its `setup`."""
    data = instantiate(config.data)
    if not isinstance(data, DataModule):
        raise ConfigError(
            f"data._target_: {config.data._target_} gives a {type(data).__name__}, which is no "
            "lit_mlfund.datamodules.DataModule: it has neither spec nor stores"
        )
    return data


def optim_values(node: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a node of `optim` without the keys that are read by the program itself."""
    return {str(key): value for key, value in node.items() if key not in SECTIONS["optim"].own}


def build_module(config: DictConfig, spec: DataSpec) -> TaskModule:
    """Model, loss, optimizer and schedule in the module of the task."""
    seed_everything(config.seed)
    loss = instantiate(config.loss)
    model = _build_model(config, spec)
    tables = instantiate(config.embedding) if config.get("embedding") else None
    if tables is not None:
        tables.prepare(model)
    module: TaskModule = instantiate(
        config.task,
        model=model,
        loss=loss,
        spec=spec,
        optimizer=_optimizer(config, tables),
        schedule=_schedule(config),
        monitor=config.monitor,
    )
    module.nodes = _own_nodes(config)
    if config.trainer.get("compile"):
        model.compile()
    return module


def _own_nodes(config: DictConfig) -> dict[str, dict[str, Any]]:
    """Return the nodes of model and loss for the checkpoint, without those that name classes of other packages."""
    nodes: dict[str, Any] = {
        name: OmegaConf.to_container(config[name], resolve=True) for name in ("model", "loss")
    }
    return {name: node for name, node in nodes.items() if is_own(node)}


def _build_model(config: DictConfig, spec: DataSpec) -> nn.Module:
    """Build the model; one that takes no `spec` is fitted to our batches."""
    target = describe(config.model._target_)
    takes_spec = target.open or "spec" in target.parameters
    model: nn.Module = instantiate(config.model, **({"spec": spec} if takes_spec else {}))
    if spec.task == "retrieval":  # called by the names of its towers
        return model
    if not takes_spec:
        model = PlainModel(model, squeeze=spec.task != "multiclass")
    materialize(model, spec)
    return model


def _optimizer(config: DictConfig, tables: Any) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """The configured one; beside it that of the embedding tables, where these have one of their own."""

    def build(module: nn.Module) -> torch.optim.Optimizer:
        beside = tables.optimizer(module) if tables is not None else None
        try:
            groups = parameter_groups(
                module,
                weight_decay=config.optim.get("weight_decay"),
                lr=config.optim.get("lr"),
                lr_by_pattern=config.optim.get("lr_by_pattern"),
                skip=tensors(beside.param_groups) if beside is not None else (),
            )
        except ValueError as error:
            raise ConfigError(f"optim.{error}") from error
        if beside is not None and not groups:  # a model of nothing but tables
            return beside
        try:
            optimizer = instantiate(optim_values(config.optim), params=groups)
        except ValueError as error:
            raise ConfigError(f"optim: {error}") from error
        return optimizer if beside is None else Combined([optimizer, beside])

    return build


def _schedule(config: DictConfig) -> Callable[[torch.optim.Optimizer, int], Any] | None:
    if not config.get("schedule"):
        return None
    target = describe(config.schedule._target_)

    def build(optimizer: torch.optim.Optimizer, num_steps: int) -> Any:
        offered = {"num_steps": num_steps, "mode": direction(config)}
        wanted = {name: value for name, value in offered.items() if target.open or name in target.parameters}
        given = {name: value for name, value in wanted.items() if name not in config.schedule}
        return instantiate(config.schedule, optimizer=optimizer, **given)

    return build


@dataclass
class Training:
    """The trainer of a run, and the callbacks that the run asks afterwards."""

    trainer: Trainer
    checkpoints: BestAndLast
    progress: Progress
    chosen: list[Any]  # those of the configuration


def build_trainer(config: DictConfig, run_dir: Path, flag: PreemptionFlag) -> Training:
    """Lightning's Trainer with the callbacks of the configuration and those that every run has."""
    progress = Progress()
    checkpoints = BestAndLast(run_dir / "checkpoints")
    chosen = [*config.regularization.values(), *config.callbacks.values()]
    callbacks = [instantiate(node) for node in chosen if node is not None]
    trainer = instantiate(
        config.trainer,
        callbacks=[*callbacks, progress, checkpoints, StopOnPreemption(flag, checkpoints)],
        logger=build_loggers(config, run_dir),
        default_root_dir=str(run_dir),
    )
    return Training(trainer, checkpoints, progress, callbacks)


def quiet_lightning() -> None:
    """Keep to ourselves what Lightning tells of every run: devices, limits, tips, workers that we do not use."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers.*",
        ".*smaller than the logging interval.*",
        ".*when logging on epoch level in distributed setting.*",
        ".*`isinstance\\(treespec, LeafSpec\\)`.*",
        ".*Checkpoint directory.*",
        ".*no logger configured.*",
    ):
        warnings.filterwarnings("ignore", text)
