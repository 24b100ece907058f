"""Summarizes a training and the resulting weights as plain numbers for `metrics.json`."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import nn

from lit_mlfund.callbacks import Progress
from lit_mlfund.data.serving.store import ListStore, PointStore
from lit_mlfund.datamodules import DataModule
from lit_mlfund.metrics import Evaluation
from lit_mlfund.modules import TaskModule
from lit_mlfund.optim import state_bytes

MAX_TRAINING_ROWS = 10_000  # examples of the training split that are evaluated like the other splits


def training_numbers(trainer: Trainer, progress: Progress) -> dict[str, float]:
    """Return steps, epochs, clipped share and bytes of optimizer state per parameter; call it right after fit."""
    optimizer = trainer.optimizers[0]
    num_parameters = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    numbers = {
        "steps": float(trainer.global_step),
        "epochs": float(len(progress.history)),
        "optimizer/bytes_per_parameter": state_bytes(optimizer) / max(num_parameters, 1),
    }
    clipped = [(e["gradient/clipped_share"], e["num_steps"]) for e in progress.steps if "gradient/norm" in e]
    if clipped:
        total = sum(num_steps for _, num_steps in clipped)
        numbers["gradient/clipped_share"] = sum(share * num_steps for share, num_steps in clipped) / total
    return numbers


def weight_numbers(model: nn.Module) -> dict[str, float]:
    """Return norm and share of exact zeros of weights with two or more dimensions, which decay and L1 affect."""
    weights = [parameter.detach() for parameter in model.parameters() if parameter.ndim >= 2]
    count = sum(weight.numel() for weight in weights)
    if not count or any(hasattr(weight, "to_local") for weight in weights):  # none, or in shards
        return {}
    return {
        "weights/norm": float(torch.stack([weight.double().norm() for weight in weights]).norm()),
        "weights/zero_share": sum(int((weight == 0).sum()) for weight in weights) / count,
    }


@torch.no_grad()
def training_split(module: TaskModule, data: DataModule) -> tuple[dict[str, float], Evaluation | None, Any]:
    """Evaluate `train/loss` and every metric like the other splits: no dropout or augmentation, fixed weights.

    Large splits are represented by `MAX_TRAINING_ROWS` evenly spaced examples; data not in memory yield nothing.

    Returns:
        The values by name, their evaluation, and the outputs of the examples.
    """
    store = data.stores.get("train")
    if not isinstance(store, (PointStore, ListStore)):
        return {}, None, None
    size = min(len(store), MAX_TRAINING_ROWS)
    index = (
        torch.linspace(0, len(store) - 1, size)
        .round()
        .long()[module.global_rank :: module.trainer.world_size]
    )
    training = module.training
    module.eval()
    for part in index.split(data.eval_batch_size):
        module.collect(store.batch(part))
    module.train(training)
    outputs, loss = module.drain()
    evaluation = module.evaluate(outputs, "train")
    values = {"loss": loss, **evaluation.values()}
    return {f"train/{name}": value for name, value in values.items()}, evaluation, outputs
