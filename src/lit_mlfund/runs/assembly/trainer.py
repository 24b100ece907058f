"""Builds Lightning's Trainer with this project's defaults."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment

from lit_mlfund.callbacks import WholeFileCheckpointIO
from lit_mlfund.runs.assembly.precision import precision_plugin
from lit_mlfund.runs.assembly.strategy import ShardedStrategy

Precision = Literal[
    "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "32", "16", "64", "bf16"
]


def build_trainer(
    *,
    max_epochs: int = 10,
    max_steps: int = -1,
    max_time: str | None = None,
    accelerator: Literal["cpu", "gpu", "auto", "cuda", "mps", "tpu"] = "cpu",
    devices: int | str = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    precision: Precision = "32-true",
    gradient_clip_val: float | None = 1.0,
    gradient_clip_algorithm: Literal["norm", "value"] = "norm",
    accumulate_grad_batches: int = 1,
    val_check_interval: int | float | None = None,
    check_val_every_n_epoch: int | None = 1,
    log_every_n_steps: int = 50,
    limit_train_batches: int | float = 1.0,
    limit_val_batches: int | float = 1.0,
    limit_test_batches: int | float = 1.0,
    overfit_batches: int | float = 0.0,
    deterministic: bool = False,
    detect_anomaly: bool = False,
    compile: bool = False,
    callbacks: list[Any] | None = None,
    logger: Any = None,
    default_root_dir: str | None = None,
) -> Trainer:
    """Build a Trainer that clips at norm 1 and leaves progress, checkpoints and summaries to this project.

    The keywords are Lightning's own, but for `compile` (torch.compile on the network only), which the run reads.
    `callbacks`, `logger` and `default_root_dir` are passed by the run.
    """
    converting = precision_plugin(precision)
    return Trainer(
        max_epochs=max_epochs,
        max_steps=max_steps,
        max_time=max_time,
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=ShardedStrategy() if strategy == "fsdp" else strategy,
        precision=precision if converting is None else None,
        gradient_clip_val=gradient_clip_val,
        gradient_clip_algorithm=gradient_clip_algorithm if gradient_clip_val else None,
        accumulate_grad_batches=accumulate_grad_batches,
        val_check_interval=val_check_interval,
        check_val_every_n_epoch=check_val_every_n_epoch,
        log_every_n_steps=log_every_n_steps,
        limit_train_batches=limit_train_batches,
        limit_val_batches=limit_val_batches,
        limit_test_batches=limit_test_batches,
        overfit_batches=overfit_batches,
        # turning it off where it is off already would import the compiler
        deterministic=deterministic or (False if torch.are_deterministic_algorithms_enabled() else None),
        detect_anomaly=detect_anomaly,
        callbacks=callbacks,
        logger=logger if logger is not None else False,
        default_root_dir=default_root_dir,
        plugins=[WholeFileCheckpointIO(), _environment(), *([converting] if converting else [])],
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks or ()),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        inference_mode=not compile,
    )


def _environment() -> LightningEnvironment | TorchElasticEnvironment:
    """Return how Lightning finds the other processes: by the variables of torchrun, whoever has started them.

    Left alone, it would take a job of Slurm for one that it has to requeue.
    """
    return TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()
