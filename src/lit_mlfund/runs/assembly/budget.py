"""Puts the numbers that follow from the training rows into a configuration, and describes the resulting training."""

from __future__ import annotations

import math

from omegaconf import DictConfig, OmegaConf

from lit_mlfund.data.serving.budget import BY_ROWS, Budget
from lit_mlfund.datamodules import DataModule

PLACES = {"trainer.max_epochs": "epochs", "optim.lr": "lr", "optim.weight_decay": "weight_decay"}


def apply_budget(config: DictConfig, data: DataModule) -> list[str]:
    """Replace every `by_rows` in `config`, and a batch size that is null, by its number; return what was replaced.

    Args:
        config: the configuration of a run, changed in place.
        data: its data module, set up.
    """
    budget = Budget.of(data.spec)
    replaced = {
        path: getattr(budget, name)
        for path, name in PLACES.items()
        if OmegaConf.select(config, path) == BY_ROWS
    }
    if "batch_size" in config.data and config.data.batch_size is None:
        replaced["data.batch_size"] = data.batch_size
    for path, value in replaced.items():
        OmegaConf.update(config, path, value)
    return [f"{path}={value:g}" for path, value in replaced.items()]


def planned_steps(config: DictConfig, data: DataModule) -> dict[str, int] | None:
    """Return the steps, epochs, batches and batch size of a training of whole epochs; None for any other."""
    trainer = config.trainer
    whole = trainer.get("max_steps", -1) == -1 and trainer.get("limit_train_batches", 1.0) == 1.0
    epochs, devices = trainer.get("max_epochs"), str(trainer.get("devices", 1))
    if not (config.train and whole and epochs and epochs > 0) or trainer.get("overfit_batches"):
        return None
    processes = (int(devices) if devices.isdigit() else 1) * int(trainer.get("num_nodes") or 1)
    batches = math.ceil(len(data.train_dataloader()) / processes)
    steps = epochs * math.ceil(batches / trainer.get("accumulate_grad_batches", 1))
    return {"steps": steps, "epochs": epochs, "batches": batches, "batch_size": data.batch_size}
