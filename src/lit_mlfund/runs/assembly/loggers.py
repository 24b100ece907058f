"""Builds the loggers of a run: TensorBoard's event files, and Lightning loggers named in the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from lit_mlfund.config.instantiate import instantiate
from lit_mlfund.config.signatures import describe

# groups whose values are columns in the HParams tab
GROUPS = ("task", "data", "model", "loss", "optim", "schedule", "regularization", "trainer")


def build_loggers(config: DictConfig, run_dir: Path) -> list[Logger]:
    """Build all loggers of a configuration, TensorBoard's first.

    Every node of `logger` with a `_target_` is built. It gets the run folder as `save_dir` if it takes this and the
    node does not set it, and the configuration as hyperparameters.
    """
    loggers: list[Logger] = []
    if config.logger.get("tensorboard"):
        from lit_mlfund.callbacks.event_files import EventFiles  # imports TensorBoard

        loggers.append(EventFiles(save_dir=run_dir, name="tensorboard", version="", default_hp_metric=False))
    for node in config.logger.values():
        if not isinstance(node, DictConfig) or "_target_" not in node:
            continue
        takes_folder = "save_dir" in describe(node._target_).parameters and "save_dir" not in node
        logger = instantiate(node, **({"save_dir": str(run_dir)} if takes_folder else {}))
        logger.log_hyperparams(flat_values(config))
        loggers.append(logger)
    return loggers


def flat_values(config: DictConfig) -> dict[str, Any]:
    """Flatten a configuration to entries such as `optim.lr: 0.001`; classes appear by name, without their module."""
    flat: dict[str, Any] = {"seed": config.seed}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                walk(f"{prefix}.{key}", part)
        elif prefix.endswith("._target_"):
            flat[prefix.removesuffix("._target_")] = str(value).rpartition(".")[2]
        elif value is not None:
            flat[prefix] = value if isinstance(value, (bool, int, float, str)) else str(value)

    for group in GROUPS:
        if config.get(group) is not None:  # schedule=null
            walk(group, OmegaConf.to_container(config[group], resolve=True))
    return flat
