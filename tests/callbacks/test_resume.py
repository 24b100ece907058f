"""Tests that a run stopped in mid-epoch and resumed ends with the weights of the uninterrupted one."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from lit_mlfund.callbacks import (
    BestAndLast,
    EarlyStopping,
    Preempted,
    PreemptionFlag,
    Progress,
    StopOnPreemption,
)
from lit_mlfund.runs.assembly.trainer import build_trainer
from tests.modules.test_lean import BATCH, Data, make_module


class SignalAtStep(Callback):
    """Sends this process a signal, as a scheduler would."""

    many_steps = True

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step >= self.step:
            self.step = 10**9
            os.kill(os.getpid(), signal.SIGTERM)


def fit(folder: Path, *callbacks: Callback, lean: bool, resume: bool = False) -> Any:
    module, data = make_module(dropout=0.3), Data(batch_size=BATCH, seed=3)
    data.setup()
    checkpoints = BestAndLast(folder)
    progress = Progress()
    with_stop = [*callbacks, progress, checkpoints, StopOnPreemption(PreemptionFlag().install(), checkpoints)]
    trainer = build_trainer(max_epochs=3, callbacks=with_stop, default_root_dir=str(folder))
    if lean:
        module.use_lean_steps(trainer)
    trainer.fit(module, datamodule=data, ckpt_path=str(checkpoints.last_path) if resume else None)
    return module, progress, checkpoints


@pytest.fixture(autouse=True)
def keep_handlers() -> Any:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("step", [17, 37, 50, 74])
def test_resumed_weights_are_equal_to_the_bit(tmp_path: Path, lean: bool, step: int) -> None:
    expected, whole, best = fit(tmp_path / "whole", lean=lean)
    with pytest.raises(Preempted):
        fit(tmp_path / "cut", SignalAtStep(step), lean=lean)
    resumed, progress, checkpoints = fit(tmp_path / "cut", lean=lean, resume=True)
    assert resumed.trainer.global_step == expected.trainer.global_step
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    assert [entry["step"] for entry in progress.history] == [entry["step"] for entry in whole.history]
    assert checkpoints.best_value == best.best_value


class KilledAfterValidation(Callback):
    """Interrupts the run without saving, as SIGKILL would."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("lean", [True, False])
def test_a_killed_run_continues_after_the_last_validation(tmp_path: Path, lean: bool) -> None:
    expected, whole, _ = fit(tmp_path / "whole", EarlyStopping(), lean=lean)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path / "cut", EarlyStopping(), KilledAfterValidation(), lean=lean)
    resumed, progress, _ = fit(tmp_path / "cut", EarlyStopping(), lean=lean, resume=True)
    assert progress.history == whole.history
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name


def test_checkpoints_hold_plain_data_only(tmp_path: Path) -> None:
    fit(tmp_path, lean=True)
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint = torch.load(tmp_path / name, weights_only=True)
        assert checkpoint["lit_mlfund"]["task"] == "binary"
