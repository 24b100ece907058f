"""Who competes in the loop benchmark: each trains one epoch and returns the seconds of its steps."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torchmetrics
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from loop_cases import Case, CaseData
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lit_mlfund.modules import TaskModule
from lit_mlfund.runs.assembly.objects import build_module, build_trainer


class Clock:
    """Seconds between `start` and `stop`: of this process on a CPU (steady under load)."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds, self._since = device, 0.0, 0.0

    def now(self) -> float:
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def start(self) -> None:
        self._since = self.now()

    def stop(self) -> None:
        self.seconds += self.now() - self._since


def hand(case: Case, config: DictConfig, steps: int, device: str, fused: bool = False) -> float:
    model = build_module(config, case.spec).model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused)
    dataset = TensorDataset(*case.make_tensors(steps))
    loader = DataLoader(dataset, case.batch_size, shuffle=True, pin_memory=device == "cuda")
    clock = Clock(device)
    clock.start()
    for batch in loader:
        loss = case.loss(model, *(part.to(device, non_blocking=True) for part in batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    clock.stop()
    return clock.seconds


def ours(case: Case, config: DictConfig, steps: int, device: str) -> float:
    clock = Clock(device)
    fit(case, config, CaseData(case, steps), steps=clock)
    return clock.seconds


def fit(
    case: Case,
    config: DictConfig,
    data: CaseData,
    steps: Clock | None = None,
    validation: Clock | None = None,
    whole: Clock | None = None,
) -> TaskModule:
    """Train one epoch as `mlfund train` does, with clocks for its steps, its validation and all of it."""
    data.setup()
    steps, validation, whole = (clock or Clock("cpu") for clock in (steps, validation, whole))
    with tempfile.TemporaryDirectory() as folder:
        module = build_module(config, case.spec)
        trainer = build_trainer(config, Path(folder)).trainer
        module.use_lean_steps(trainer)
        measure = module.on_validation_epoch_end
        module.on_train_epoch_start = steps.start
        module.on_validation_start = lambda: (steps.stop(), validation.start())
        module.on_validation_epoch_end = lambda: (measure(), validation.stop())
        whole.start()
        trainer.fit(module, datamodule=data)
        whole.stop()
    return module


def lightning(case: Case, config: DictConfig, steps: int, device: str) -> float:
    return run_lightning(Plain(case, build_module(config, case.spec).model), case, steps, device)


def usual(case: Case, config: DictConfig, steps: int, device: str) -> float:
    checkpoints = ModelCheckpoint(monitor="val/loss", save_last=True)
    callbacks = [LearningRateMonitor("step"), checkpoints, TQDMProgressBar()]
    module = Usual(case, build_module(config, case.spec).model)
    return run_lightning(module, case, steps, device, callbacks=callbacks, gradient_clip_val=1.0)


class Plain(pl.LightningModule):
    """As little as Lightning needs."""

    def __init__(self, case: Case, model: nn.Module) -> None:
        super().__init__()
        self.case, self.model = case, model

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.case.loss(self.model, *batch)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.case.loss(self.model, *batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class Usual(Plain):
    """With the habits of most code for Lightning."""

    def __init__(self, case: Case, model: nn.Module) -> None:
        super().__init__(case, model)
        self.mean_loss = torchmetrics.MeanMetric()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.mean_loss(loss.detach())
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/mean_loss", self.mean_loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.case.loss(self.model, *batch), prog_bar=True)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def run_lightning(module: Plain, case: Case, steps: int, device: str, **options: Any) -> float:
    clock = Clock(device)
    module.on_train_epoch_start, module.on_validation_start = clock.start, clock.stop
    options |= {"max_epochs": 1, "accelerator": device, "num_sanity_val_steps": 0}
    train, val = (
        DataLoader(TensorDataset(*case.make_tensors(size)), case.batch_size, shuffle=size > 1)
        for size in (steps, 1)
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(default_root_dir=folder, **options)
        trainer.fit(module, train, val)
    return clock.seconds
