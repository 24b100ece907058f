"""The lean step: the hand loop's weights to the bit, far fewer function calls, and off where it must be."""

from __future__ import annotations

import cProfile
import pstats
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from lit_mlfund.callbacks import BestAndLast, Progress, StopOnSignal
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import PointStore
from lit_mlfund.datamodules import DataModule
from lit_mlfund.losses import BinaryCrossEntropyLoss
from lit_mlfund.modules import BinaryModule
from lit_mlfund.runs.assembly.trainer import build_trainer
from lit_mlfund.startup.signals import StopRequest

BATCH, STEPS, EPOCHS = 64, 37, 3  # 37 steps: chunks of 10 leave a rest
SPEC = DataSpec("binary", {"numeric": Field("numeric", (30,))}, classes=("no", "yes"))


class Net(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 1))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.layers(x["numeric"]).squeeze(-1)


class Data(DataModule):
    tasks = ("binary",)
    num_steps = STEPS

    def build(self) -> None:
        generator = torch.Generator().manual_seed(7)
        for split, size in (("train", BATCH * self.num_steps), ("val", 100), ("test", 100)):
            x = torch.randn(size, 30, generator=generator)
            self.stores[split] = PointStore({"numeric": x}, (x[:, 0] + x[:, 1] > 0.3).float())
        self.spec = SPEC

    def preprocessing(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def make_module(dropout: float = 0.0) -> BinaryModule:
    torch.manual_seed(0)
    return BinaryModule(
        Net(dropout),
        BinaryCrossEntropyLoss(),
        SPEC,
        optimizer=lambda module: torch.optim.AdamW(module.parameters(), lr=3e-3),
        schedule=lambda optimizer, steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps),
        monitor="val/auroc",
    )


def fit(folder: Path, *callbacks: Callback, lean: bool = True, **trainer: Any) -> BinaryModule:
    module, data = make_module(), Data(batch_size=BATCH, seed=3)
    data.setup()
    checkpoints = BestAndLast(folder)
    always = [Progress(), checkpoints, StopOnSignal(StopRequest(), checkpoints)]
    built = build_trainer(
        callbacks=[*callbacks, *always], default_root_dir=str(folder), **{"max_epochs": EPOCHS, **trainer}
    )
    if lean:
        module.use_lean_steps(built)
    built.fit(module, datamodule=data)
    return module


def hand_loop() -> dict[str, Tensor]:
    module = make_module()
    data = Data(batch_size=BATCH, seed=3)
    data.setup()
    loader = BatchLoader(data.stores["train"], BATCH, shuffle=True, seed=3)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS * EPOCHS)
    for _ in range(EPOCHS):
        for batch in loader:
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(module.model(batch.x), batch.y)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return module.state_dict()


@pytest.mark.parametrize("lean", [True, False])
def test_weights_equal_the_hand_loop_to_the_bit(tmp_path: Path, lean: bool) -> None:
    module = fit(tmp_path, lean=lean)
    assert module.steps_per_call == (10 if lean else 1)
    assert module.trainer.global_step == STEPS * EPOCHS
    expected = hand_loop()
    for name, value in module.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_function_calls_per_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for num_steps in (100, 500):
        monkeypatch.setattr(Data, "num_steps", num_steps)
        profile = cProfile.Profile()
        profile.enable()
        fit(tmp_path / str(num_steps), max_epochs=1)
        profile.disable()
        calls.append(pstats.Stats(profile).total_calls)
    assert (
        calls[1] - calls[0]
    ) / 400 < 750  # 549 when this was written; more when other tests have filled the process


class SeesEveryStep(Callback):
    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps += 1


def test_a_callback_that_sees_every_step_turns_it_off(tmp_path: Path) -> None:
    watcher = SeesEveryStep()
    module = fit(tmp_path, watcher)
    assert module.steps_per_call == 1
    assert watcher.steps == STEPS * EPOCHS


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate_grad_batches": 2},
        {"precision": "bf16-mixed"},
        {"max_steps": 20},
        {"limit_train_batches": 5},
        {"val_check_interval": 10},
        {"overfit_batches": 2},
        {"gradient_clip_algorithm": "value"},
        {"log_every_n_steps": 7, "max_time": "00:01:00:00"},
    ],
)
def test_what_needs_every_step_turns_it_off(tmp_path: Path, options: dict[str, Any]) -> None:
    assert (
        fit(tmp_path, max_epochs=1, **{k: v for k, v in options.items() if k != "max_epochs"}).steps_per_call
        == 1
    )


def test_the_chunk_divides_the_logging_interval(tmp_path: Path) -> None:
    assert fit(tmp_path, max_epochs=1, log_every_n_steps=7).steps_per_call == 7
