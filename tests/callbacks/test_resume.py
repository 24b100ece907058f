"""Tests that a run stopped in mid-epoch and resumed ends with the weights of the uninterrupted one."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lit_mlfund.callbacks import BestAndLast, EarlyStopping, Progress, StopOnSignal
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.assembly.trainer import build_trainer
from lit_mlfund.startup.signals import Stopped, StopRequest
from tests.modules.test_lean import BATCH, STEPS, Data, make_module


class SignalAtStep(Callback):
    """Sends this process a signal, as a scheduler would."""

    many_steps = True

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step >= self.step:
            self.step = 10**9
            os.kill(os.getpid(), signal.SIGTERM)


def fit(folder: Path, *callbacks: Callback, lean: bool = False, resume: bool = False, **options: Any) -> Any:
    module, data = make_module(dropout=0.3), Data(batch_size=BATCH, seed=3)
    data.setup()
    checkpoints = BestAndLast(folder)
    progress = Progress()
    with_stop = [*callbacks, progress, checkpoints, StopOnSignal(StopRequest().install(), checkpoints)]
    options = {"max_epochs": 3, "log_every_n_steps": 10, **options}
    if options.pop("plateau", False):
        module.schedule = lambda optimizer: ReduceLROnPlateau(
            optimizer, patience=0, threshold=10.0, threshold_mode="abs", eps=0.0
        )
    trainer = build_trainer(callbacks=with_stop, default_root_dir=str(folder), **options)
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
    with pytest.raises(Stopped):
        fit(tmp_path / "cut", SignalAtStep(step), lean=lean)
    resumed, progress, checkpoints = fit(tmp_path / "cut", lean=lean, resume=True)
    assert resumed.trainer.global_step == expected.trainer.global_step
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    assert progress.history == whole.history and progress.steps == whole.steps
    assert checkpoints.best_value == best.best_value


class SignalAtBatch(SignalAtStep):
    """Sends the signal behind a batch, which need not end an optimizer step."""

    many_steps = False

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if args[-1] + trainer.current_epoch * STEPS == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("batch", [9, 10, 11, 36, 37])
def test_a_step_of_several_batches_is_finished_first(tmp_path: Path, batch: int) -> None:
    expected, whole, _ = fit(tmp_path / "whole", accumulate_grad_batches=3)
    with pytest.raises(Stopped):
        fit(tmp_path / "cut", SignalAtBatch(batch), accumulate_grad_batches=3)
    resumed, progress, _ = fit(tmp_path / "cut", accumulate_grad_batches=3, resume=True)
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    assert progress.history == whole.history


@pytest.mark.parametrize(
    ("options", "validations"),
    [({}, 3), ({"lean": True}, 3), ({"val_check_interval": 12}, 10), ({"accumulate_grad_batches": 2}, 3),
     ({"check_val_every_n_epoch": 2, "accumulate_grad_batches": 2}, 2)],
)  # fmt: skip
def test_plateaus_are_counted_by_validation_on_every_path(
    tmp_path: Path, options: dict[str, Any], validations: int
) -> None:
    """No value is better by ten: each validation after the first cuts the rate, and the checkpoint knows of it."""
    _, progress, checkpoints = fit(tmp_path, plateau=True, **options)
    assert len(progress.history) == validations
    state = torch.load(checkpoints.last_path, weights_only=True)
    rates = [group["lr"] for group in state["optimizer_states"][0]["param_groups"]]
    expected = 3e-3 * 0.1 ** (validations - 1)
    assert rates == pytest.approx([expected] * len(rates), rel=1e-6, abs=0.0)


def test_a_plateau_is_resumed_as_it_was_counted(tmp_path: Path) -> None:
    expected, *_ = fit(tmp_path / "whole", plateau=True, accumulate_grad_batches=2)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path / "cut", KilledAfterValidation(), plateau=True, accumulate_grad_batches=2)
    resumed, *_ = fit(tmp_path / "cut", plateau=True, accumulate_grad_batches=2, resume=True)
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name


@pytest.mark.parametrize(
    ("options", "steps"),
    [({"max_steps": 5}, [5]), ({"max_steps": 50}, [37, 50]), ({"val_check_interval": 30, "max_epochs": 1}, [30, 37]),
     ({"check_val_every_n_epoch": 2}, [74, 111]), ({"check_val_every_n_epoch": 9, "lean": True}, [111])],
)  # fmt: skip
def test_training_is_validated_and_saved_where_it_ends(
    tmp_path: Path, options: dict[str, Any], steps: list[int]
) -> None:
    module, progress, checkpoints = fit(tmp_path, **options)
    assert [entry["step"] for entry in progress.history] == steps
    last = torch.load(checkpoints.last_path, weights_only=True)
    assert last["global_step"] == steps[-1] and checkpoints.best_path.exists()
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in last["state_dict"].items())


def test_best_and_what_is_recorded_of_it(tmp_path: Path) -> None:
    """The three states that a kill between two renames, or somebody's hand, can leave."""
    fit(tmp_path, max_steps=37)
    first = (tmp_path / "best.ckpt").read_bytes()
    _, _, checkpoints = fit(tmp_path, max_epochs=2, resume=True)
    assert checkpoints.best_step == 74  # the second epoch is better
    second = (tmp_path / "last.ckpt").read_bytes()
    (tmp_path / "best.ckpt").unlink()
    (tmp_path / "best.ckpt").write_bytes(first)  # killed before the second rename
    fit(tmp_path, max_epochs=2, resume=True)
    assert (tmp_path / "best.ckpt").read_bytes() == second
    worse = torch.load(tmp_path / "last.ckpt", weights_only=True)
    worse["callbacks"]["BestAndLast"]["best_step"] = 37
    torch.save(worse, tmp_path / "last.ckpt")
    for found in ("is of step 74", "there is none"):
        with pytest.raises(ConfigError, match=f"reached at step 37, but .*{found}"):
            fit(tmp_path, resume=True)
        (tmp_path / "best.ckpt").unlink(missing_ok=True)


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


class EndedAtStep(Callback):
    """Ends the process behind the validation at a step, when its checkpoint is written: killed, or signalled."""

    many_steps = True

    def __init__(self, step: int, signalled: bool) -> None:
        self.step, self.signalled = step, signalled

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        if trainer.global_step != self.step:
            return
        if self.signalled:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        save = trainer.checkpoint_callbacks[0].save_last

        def save_and_end(trainer: Any) -> None:
            save(trainer)
            raise SystemExit

        trainer.checkpoint_callbacks[0].save_last = save_and_end


@pytest.mark.parametrize("signalled", [False, True])
@pytest.mark.parametrize(
    ("options", "decided_at"),
    [({"lean": True}, 2 * STEPS), ({}, 2 * STEPS), ({"val_check_interval": 12}, 24),
     ({"check_val_every_n_epoch": 2}, 4 * STEPS)],
)  # fmt: skip
def test_a_decision_to_stop_is_not_lost(
    tmp_path: Path, options: dict[str, Any], decided_at: int, signalled: bool
) -> None:
    def stopping() -> EarlyStopping:
        return EarlyStopping(patience=1, min_delta=10.0)  # the second validation is never an improvement

    expected, whole, best = fit(tmp_path / "whole", stopping(), max_epochs=9, **options)
    assert expected.trainer.global_step == decided_at and len(whole.history) == 2
    with pytest.raises(SystemExit):
        fit(tmp_path / "cut", stopping(), EndedAtStep(decided_at, signalled), max_epochs=9, **options)
    resumed, progress, checkpoints = fit(tmp_path / "cut", stopping(), resume=True, max_epochs=9, **options)
    assert resumed.trainer.global_step == decided_at
    assert progress.history == whole.history
    assert (checkpoints.best_value, checkpoints.best_step) == (best.best_value, best.best_step)
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name


@pytest.mark.parametrize(
    ("options", "batch"),
    [
        ({"check_val_every_n_epoch": 2}, STEPS - 1),
        ({"val_check_interval": 12}, 11),
        ({"val_check_interval": 12}, 23),
    ],
)
def test_a_signal_where_an_epoch_ends_or_a_validation_is_due(
    tmp_path: Path, options: dict[str, Any], batch: int
) -> None:
    expected, whole, best = fit(tmp_path / "whole", **options)
    with pytest.raises(Stopped):
        fit(tmp_path / "cut", SignalAtBatch(batch), **options)
    last = torch.load(tmp_path / "cut" / "last.ckpt", weights_only=True)
    assert last["global_step"] == batch + 1  # nothing is trained twice
    resumed, progress, checkpoints = fit(tmp_path / "cut", resume=True, **options)
    assert progress.history == whole.history
    assert checkpoints.best_value == best.best_value
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name


def test_checkpoints_hold_plain_data_only(tmp_path: Path) -> None:
    fit(tmp_path, lean=True)
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint = torch.load(tmp_path / name, weights_only=True)
        assert checkpoint["lit_mlfund"]["task"] == "binary"
