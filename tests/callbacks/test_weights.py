"""Tests norms of weights and updates against a hand-written loop, and that measuring changes no weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from torch import nn

from lit_mlfund.callbacks import Progress, WeightStatistics
from lit_mlfund.callbacks.weights import layer_groups
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.runs.assembly.trainer import build_trainer
from tests.modules.test_lean import BATCH, STEPS, Data, hand_loop, make_module


class RecordingLogger(DummyLogger):
    """Records logged values by name and step."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, dict[int, float]] = {}

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name, value in metrics.items():
            self.values.setdefault(name, {})[step or 0] = value


def fit(folder: Path, lean: bool, logger: Any) -> Any:
    module, data = make_module(), Data(batch_size=BATCH, seed=3)
    data.setup()
    callbacks = [WeightStatistics(every_n_logs=2), Progress()]
    trainer = build_trainer(
        max_epochs=3, log_every_n_steps=10, callbacks=callbacks, logger=logger, default_root_dir=str(folder)
    )
    if lean:
        module.use_lean_steps(trainer)
    trainer.fit(module, datamodule=data)
    assert module.steps_per_call == (10 if lean else 1)
    assert trainer.optimizers[0]._optimizer_step_post_hooks == {}
    return module


@pytest.mark.parametrize("lean", [True, False])
def test_what_is_logged(tmp_path: Path, lean: bool) -> None:
    logger = RecordingLogger()
    module = fit(tmp_path, lean, logger)
    for name, value in module.state_dict().items():
        assert torch.equal(value, hand_loop()[name])
    delay = 10 if lean else 1  # steps until the end of the call
    expected = {STEPS * epoch + measured + delay for epoch in range(3) for measured in (0, 20)}
    ratio = logger.values["weights/update_ratio/layers.0"]
    assert set(ratio) == expected
    assert set(logger.values["weights/norm/layers.3"]) == expected
    # the very first step, by hand
    data = Data(batch_size=BATCH, seed=3)
    data.setup()
    fresh = make_module()
    batch = next(iter(BatchLoader(data.stores["train"], BATCH, shuffle=True, seed=3)))
    before = {name: value.clone() for name, value in fresh.model.named_parameters()}
    optimizer = torch.optim.AdamW(fresh.parameters(), lr=3e-3)
    fresh.batch_loss(batch).backward()
    nn.utils.clip_grad_norm_(fresh.parameters(), 1.0)
    optimizer.step()
    first = ("layers.0.weight", "layers.0.bias")
    norm = sum(float(before[name].square().sum()) for name in first) ** 0.5
    update_norm = (
        sum(float((fresh.model.get_parameter(name) - before[name]).square().sum()) for name in first) ** 0.5
    )
    assert logger.values["weights/norm/layers.0"][delay] == pytest.approx(norm, rel=1e-5)
    assert ratio[delay] == pytest.approx(update_norm / norm, rel=1e-3)
    assert set(logger.values["momentum/group0"].values()) == {0.9}
    assert logger.values["batch/effective_size"] == {0: BATCH}


def test_nothing_without_a_logger(tmp_path: Path) -> None:
    module = fit(tmp_path, True, None)
    assert module.trainer.global_step == 3 * STEPS


def test_groups_are_few() -> None:
    model = nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(12)))
    assert len(layer_groups(model, max_groups=24)) == 24
    assert len(layer_groups(model, max_groups=20)) == 12
    assert sum(len(group) for group in layer_groups(model, max_groups=20).values()) == 48
    assert list(layer_groups(nn.Linear(2, 2))) == ["model"]
    with pytest.raises(ValueError, match="every_n_logs"):
        WeightStatistics(every_n_logs=0)


def test_the_effective_size_is_logged_at_the_step_of_a_resumed_training() -> None:
    logger = RecordingLogger()
    trainer = SimpleNamespace(
        loggers=[logger],
        datamodule=SimpleNamespace(batch_size=32),
        accumulate_grad_batches=4,
        world_size=2,
        global_step=70,
    )
    WeightStatistics().on_train_start(trainer, SimpleNamespace(model=nn.Linear(2, 1)))
    assert logger.values == {"batch/effective_size": {70: 256}}
