"""Each option of `conf/trainer` reaches Lightning's Trainer, by the value that the Trainer works with."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import CSVLogger

from lit_mlfund.callbacks import BestAndLast, WholeFileCheckpointIO
from lit_mlfund.runs.assembly.strategy import ShardedStrategy
from lit_mlfund.runs.assembly.trainer import build_trainer

# option -> (the default, another value, that value as the Trainer has it, where the Trainer has it)
OPTIONS: dict[str, tuple[Any, Any, Any, Any]] = {
    "max_epochs": (10, 3, 3, lambda t: t.max_epochs),
    "max_steps": (-1, 7, 7, lambda t: t.max_steps),
    "max_time": (None, "00:00:01:00", 60.0, lambda t: _time_limit(t)),
    "devices": (1, 2, 2, lambda t: t.num_devices),
    "num_nodes": (1, 2, 2, lambda t: t.num_nodes),
    "precision": ("32-true", "bf16-mixed", "bf16-mixed", lambda t: t.precision),
    "gradient_clip_val": (1.0, 0.5, 0.5, lambda t: t.gradient_clip_val),
    "gradient_clip_algorithm": ("norm", "value", "value", lambda t: str(t.gradient_clip_algorithm.value)),
    "accumulate_grad_batches": (1, 4, 4, lambda t: t.accumulate_grad_batches),
    "val_check_interval": (1.0, 5, 5, lambda t: t.val_check_interval),
    "check_val_every_n_epoch": (1, 2, 2, lambda t: t.check_val_every_n_epoch),
    "log_every_n_steps": (50, 9, 9, lambda t: t.log_every_n_steps),
    "limit_train_batches": (1.0, 3, 3, lambda t: t.limit_train_batches),
    "limit_val_batches": (1.0, 0.5, 0.5, lambda t: t.limit_val_batches),
    "limit_test_batches": (1.0, 2, 2, lambda t: t.limit_test_batches),
    "overfit_batches": (0.0, 2, 2, lambda t: t.overfit_batches),
    "deterministic": (False, True, True, lambda t: torch.are_deterministic_algorithms_enabled()),
    "detect_anomaly": (False, True, True, lambda t: t._detect_anomaly),
    "compile": (True, True, False, lambda t: t.test_loop.inference_mode),
}
OTHERWISE = {"accelerator", "strategy", "callbacks", "logger", "default_root_dir"}


def _time_limit(trainer: Trainer) -> float | None:
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]
    return timers[0]._duration if timers else None


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def test_every_option_is_in_the_table() -> None:
    assert set(inspect.signature(build_trainer).parameters) == OPTIONS.keys() | OTHERWISE


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_reaches_the_trainer(option: str) -> None:
    default, given, expected, read = OPTIONS[option]
    assert read(build_trainer()) == default
    more = {"strategy": "ddp"} if option in ("devices", "num_nodes") else {}
    assert read(build_trainer(**{option: given}, **more)) == expected


def test_what_the_run_passes(tmp_path: Path) -> None:
    plain = build_trainer()
    assert plain.loggers == [] and not plain.checkpoint_callbacks and plain.num_sanity_val_steps == 0
    assert plain.progress_bar_callback is None
    assert isinstance(plain.strategy.checkpoint_io, WholeFileCheckpointIO)
    checkpoints, logger = BestAndLast(tmp_path), CSVLogger(tmp_path)
    trainer = build_trainer(callbacks=[checkpoints], logger=logger, default_root_dir=str(tmp_path))
    assert trainer.checkpoint_callbacks == [checkpoints] and trainer.loggers == [logger]
    assert trainer.default_root_dir == str(tmp_path)
    assert isinstance(build_trainer(strategy="fsdp").strategy, ShardedStrategy)
    unclipped = build_trainer(gradient_clip_val=None)
    assert unclipped.gradient_clip_val is None and unclipped.gradient_clip_algorithm is None
    assert timedelta(seconds=_time_limit(build_trainer(max_time="00:01:00:00")) or 0) == timedelta(hours=1)


def test_deterministic_algorithms_are_turned_off_again() -> None:
    build_trainer(deterministic=True)
    build_trainer()
    assert not torch.are_deterministic_algorithms_enabled()
