"""Builds the objects of a run from its checked configuration."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import hydra.utils
import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lit_mlfund.callbacks import BestAndLast, Progress, StopOnSignal
from lit_mlfund.config.compatibility import direction
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.instantiate import instantiate, is_own
from lit_mlfund.config.schema import SECTIONS
from lit_mlfund.config.signatures import describe
from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.datamodules import DataModule
from lit_mlfund.modules import TaskModule
from lit_mlfund.optim import Combined, annealing, anneals, parameter_groups
from lit_mlfund.optim.native import tensors
from lit_mlfund.runs.assembly.loggers import build_loggers
from lit_mlfund.runs.assembly.model_size import ModelSize
from lit_mlfund.runs.assembly.outside_models import PlainModel, materialize
from lit_mlfund.startup.signals import REQUEST
from lit_mlfund.startup.streams import OUTPUT

_Kind = TypeVar("_Kind")


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and Python; zero is a seed like any other."""
    import random

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def build_data(config: DictConfig) -> DataModule:
    """Build the configured data module; nothing is read before its `setup`."""
    remark = "lit_mlfund.datamodules.DataModule: it has neither spec nor stores"
    return _built(DataModule, remark, "data", config.data)


def _built(kind: type[_Kind], name: str, path: str, node: Mapping[Any, Any], **supplied: Any) -> _Kind:
    """Build a node; raise a ConfigError where a function of another package returned something else than its kind."""
    made = instantiate(node, **supplied)
    if not isinstance(made, kind):
        raise ConfigError(
            f"{path}._target_: {node['_target_']} builds a {type(made).__name__}, which is no {name}"
        )
    return made


def optim_values(node: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a node of `optim` without the keys that the program reads itself."""
    return {str(key): value for key, value in node.items() if key not in SECTIONS["optim"].own}


def build_module(config: DictConfig, spec: DataSpec) -> TaskModule:
    """Build model, loss, optimizer and schedule in the module of the task."""
    seed_everything(config.seed)
    loss = _built(nn.Module, "torch.nn.Module", "loss", config.loss)
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
    """Return the nodes of model and loss for the checkpoint, except those that name classes of other packages."""
    nodes: dict[str, Any] = {
        name: OmegaConf.to_container(config[name], resolve=True) for name in ("model", "loss")
    }
    return {name: node for name, node in nodes.items() if is_own(node)}


def _build_model(config: DictConfig, spec: DataSpec) -> nn.Module:
    """Build the model; one that takes no `spec` is wrapped to accept our batches."""
    target = describe(config.model._target_)
    takes_spec = target.open or "spec" in target.parameters
    given = {"spec": spec} if takes_spec else {}
    with ModelSize():
        model = _built(nn.Module, "torch.nn.Module", "model", config.model, **given)
    if spec.task == "retrieval":  # its towers are called by name
        return model
    if not takes_spec:
        model = PlainModel(model, squeeze=spec.task != "multiclass")
    materialize(model, spec)
    return model


def _optimizer(config: DictConfig, tables: Any) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """Return a factory of the configured optimizer, combined with that of the embedding tables if they have one."""

    def build(module: nn.Module) -> torch.optim.Optimizer:
        table_optimizer = tables.optimizer(module) if tables is not None else None
        try:
            groups = parameter_groups(
                module,
                weight_decay=config.optim.get("weight_decay"),
                lr=config.optim.get("lr"),
                lr_by_pattern=config.optim.get("lr_by_pattern"),
                skip=tensors(table_optimizer.param_groups) if table_optimizer is not None else (),
            )
        except ValueError as error:
            raise ConfigError(f"optim.{error}") from error
        if table_optimizer is not None and not groups:  # a model of nothing but tables
            return table_optimizer
        try:
            optimizer = instantiate(optim_values(config.optim), params=groups)
        except ValueError as error:
            raise ConfigError(f"optim: {error}") from error
        return optimizer if table_optimizer is None else Combined([optimizer, table_optimizer])

    return build


def _schedule(config: DictConfig) -> Callable[[torch.optim.Optimizer, int], Any] | None:
    if not config.get("schedule"):
        return None
    target = describe(config.schedule._target_)
    schedule = hydra.utils.get_object(config.schedule._target_)

    def build(optimizer: torch.optim.Optimizer, num_steps: int) -> Any:
        extra = {"num_steps": num_steps, "mode": direction(config)}
        accepted = {name: value for name, value in extra.items() if target.open or name in target.parameters}
        arguments = {name: value for name, value in accepted.items() if name not in config.schedule}
        return instantiate(config.schedule, optimizer=optimizer, **arguments)

    return annealing(build) if anneals(schedule) else build


@dataclass
class Training:
    """Holds the trainer of a run, and the callbacks that are read after training."""

    trainer: Trainer
    checkpoints: BestAndLast
    progress: Progress
    configured: list[Any]  # callbacks of the configuration


def build_trainer(config: DictConfig, run_dir: Path, watching: Sequence[Callback] = ()) -> Training:
    """Build Lightning's Trainer with the callbacks of the configuration, those that watch, and those of every run."""
    progress = Progress()
    checkpoints = BestAndLast(run_dir / "checkpoints")
    callbacks = [
        _built(Callback, "lightning.pytorch.Callback", f"{group}.{key}", node)
        for group in ("regularization", "callbacks")
        for key, node in config[group].items()
        if node is not None
    ]
    trainer = instantiate(
        config.trainer,
        callbacks=[*callbacks, *watching, progress, checkpoints, StopOnSignal(REQUEST, checkpoints)],
        logger=build_loggers(config, run_dir),
        default_root_dir=str(run_dir),
    )
    return Training(trainer, checkpoints, progress, callbacks)


def quiet_lightning() -> None:
    """Silence what Lightning prints in every run: devices, limits, tips, workers that are not used here.

    With `--verbose` it may speak.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.INFO if OUTPUT.verbose else logging.WARNING)
    if OUTPUT.verbose:
        return
    for text in (
        ".*does not have many workers.*",
        ".*smaller than the logging interval.*",
        ".*when logging on epoch level in distributed setting.*",
        ".*`isinstance\\(treespec, LeafSpec\\)`.*",
        ".*Checkpoint directory.*",
        ".*no logger configured.*",
        ".*`srun` command is available.*",
    ):
        warnings.filterwarnings("ignore", text)
