"""Tests lazy averages of tables with sparse gradients: equal to dense averages, at the cost of the updated rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from lit_mlfund.callbacks import EMA, SWA
from lit_mlfund.callbacks.averages import WeightAverage
from lit_mlfund.startup.signals import Stopped
from tests.callbacks.test_resume import SignalAtStep, keep_handlers  # noqa: F401
from tests.modules.test_tables import BATCH, CARDINALITIES, EPOCHS, STEPS, TABLE, fit, make_module, make_store
from tests.optim.test_rowwise import dense

State = dict[str, Tensor]
MAKE = [lambda: EMA(decay=0.98), lambda: SWA(start=0.0), lambda: SWA(start=0.5)]


class DenseAverage(Callback):
    """Computes the same average over every row in each step, and records the weights that validation uses."""

    def __init__(self, average: WeightAverage) -> None:
        self.average = average
        self.expected: list[State] = []
        self.validated: list[State] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.mean = {name: value.double() for name, value in pl_module.state_dict().items()}
        self.count = 0

        def update(*_: Any) -> None:
            count, self.average.count = self.average.count, self.count
            share = self.average.share(trainer)
            self.average.count = count
            self.count += share > 0
            for name, value in pl_module.state_dict().items():
                self.mean[name] += share * (value.double() - self.mean[name])

        trainer.optimizers[0].register_step_post_hook(update)

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if self.average.count:
            self.expected.append({name: value.float() for name, value in self.mean.items()})
            self.validated.append({name: value.clone() for name, value in pl_module.state_dict().items()})


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("make", MAKE)
def test_equal_to_the_average_over_every_row(
    tmp_path: Path, make: Callable[[], WeightAverage], lean: bool
) -> None:
    average = make()
    reference = DenseAverage(average)
    module = fit(tmp_path, average, reference, lean=lean)
    assert len(reference.validated) == (1 if getattr(average, "start", 0) else EPOCHS)
    for validated, expected in zip(reference.validated, reference.expected):
        for name, value in validated.items():
            # float32 rounds once per step at 6e-8 of weights of about 1
            torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert_equal(last["state_dict"], reference.validated[-1])
    assert_equal(module.state_dict(), reference.validated[-1])
    (saved,) = [state for key, state in last["callbacks"].items() if key.startswith(type(average).__name__)]
    plain = fit(tmp_path / "plain", lean=lean)
    assert_equal(saved["weights"], plain.state_dict())  # averaging does not change the training itself


def assert_equal(actual: State, expected: State) -> None:
    for name, value in actual.items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("step", [15, 37])
def test_resumed_to_the_bit(tmp_path: Path, make: Callable[[], WeightAverage], lean: bool, step: int) -> None:
    never = SignalAtStep(10**9)
    expected = fit(tmp_path / "whole", make(), never, lean=lean, dropout=0.2)
    with pytest.raises(Stopped):
        fit(tmp_path / "cut", make(), SignalAtStep(step), lean=lean, dropout=0.2)
    resumed = fit(tmp_path / "cut", make(), never, lean=lean, dropout=0.2, resume=True)
    assert_equal(resumed.state_dict(), expected.state_dict())


def test_a_checkpoint_in_mid_epoch_holds_the_average_of_its_step(tmp_path: Path) -> None:
    average = EMA(decay=0.98)
    reference = DenseAverage(average)
    with pytest.raises(Stopped):
        fit(tmp_path, average, reference, SignalAtStep(15), lean=False)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in state.items():
        torch.testing.assert_close(value, reference.mean[name].float(), rtol=1e-5, atol=1e-6)


def test_rows_without_updates_stay_bit_identical(tmp_path: Path) -> None:
    unseen = torch.ones(sum(CARDINALITIES), dtype=torch.bool)
    starts = torch.tensor([0, *CARDINALITIES]).cumsum(0)[:-1]
    unseen[(make_store(BATCH * STEPS, 0).x["categorical"] + starts).flatten()] = False
    module = fit(tmp_path, EMA(decay=0.98), max_epochs=1)
    assert unseen.any()
    assert torch.equal(module.get_parameter(TABLE)[unseen], make_module().get_parameter(TABLE)[unseen])


class LargestOperand(TorchDispatchMode):
    """Records the size of the largest dense tensor that operations read or write, except for indexing by rows."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.__name__.startswith("index_"):
            flat, _ = tree_flatten((args, result))
            sizes = [value.numel() for value in dense(flat)]
            self.numel = max([self.numel, *sizes])
        return result


@pytest.mark.parametrize("make", MAKE[:2])
def test_no_step_touches_the_whole_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], WeightAverage]
) -> None:
    average, sizes = make(), []

    def watch(name: str) -> None:
        inner = getattr(average, name)

        def watched(*args: Any) -> None:
            with LargestOperand() as largest:
                inner(*args)
            sizes.append(largest.numel)

        monkeypatch.setattr(average, name, watched)

    watch("_before_update")
    watch("_update")
    fit(tmp_path, average, max_epochs=1)
    assert len(sizes) == 2 * STEPS
    table = 4 * sum(CARDINALITIES)
    assert sizes[1] == (table if isinstance(average, SWA) else 8 * 10)  # first step of the average; one layer
    assert BATCH * 4 <= max(sizes[2:]) <= BATCH * 3 * 4 < table  # the rows of a batch
