"""What is seen of a training: layers that move, or have no gradient, and rows in the order of their target."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lit_mlfund.callbacks import Vitals
from lit_mlfund.data.serving.store import PointStore
from tests.modules.test_lean import BATCH, EPOCHS, STEPS, fit


@pytest.mark.parametrize("lean", [True, False])
def test_layers_and_updates(tmp_path: Path, lean: bool) -> None:
    vitals = Vitals()
    trained = fit(tmp_path / "with", vitals, lean=lean)
    for mine, alone in zip(trained.parameters(), fit(tmp_path / "without", lean=lean).parameters()):
        assert torch.equal(mine, alone)  # looking changes nothing
    layers = {layer.name: layer for layer in vitals.layers()}
    assert set(layers) == {"layers.0", "layers.3"}
    for name, layer in layers.items():
        torch.manual_seed(0)
        now = trained.model.get_submodule(name)
        assert layer.trainable and layer.gradient and layer.update and layer.moved and layer.shrunk
        assert isinstance(now, nn.Linear) and 0.001 < layer.update < 0.2 and 0.05 < layer.moved < 2
    assert 5 <= len(vitals.updates()) < EPOCHS * STEPS / 4 and 0 < max(vitals.updates()) <= 1
    assert 0.5 < vitals.initial["log_loss"] < 1 and vitals.missing == ""


def test_a_layer_without_gradient(tmp_path: Path) -> None:
    from tests.modules import test_lean

    class Frozen(test_lean.Net):
        def __init__(self, dropout: float = 0.0) -> None:
            super().__init__(dropout)
            self.layers[0].requires_grad_(False)

    vitals = Vitals()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_lean, "Net", Frozen)
        fit(tmp_path, vitals)
    assert [layer.name for layer in vitals.layers() if not layer.trainable] == ["layers.0"]


def test_order_of_the_rows() -> None:
    def spread(y: Tensor) -> float:
        vitals = Vitals()
        vitals._means = [part.mean() for part in y.split(BATCH)]
        store = PointStore({"numeric": torch.zeros(len(y), 1)}, y)
        ratio = vitals.batch_spread(store, BATCH)
        assert ratio is not None
        return ratio

    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(BATCH * STEPS, generator=generator) < 0.4).float()
    assert 0.4 < spread(y) < 2
    assert spread(y.sort().values) > 20


class KeepsGradients(torch.optim.SGD):
    """An optimizer whose author forgot something."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        pass


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, KeepsGradients])
def test_gradients_of_earlier_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: type, accumulated: int, lean: bool
) -> None:
    monkeypatch.setattr(torch.optim, "AdamW", optimizer)
    vitals = Vitals()
    fit(tmp_path, vitals, lean=lean, accumulate_grad_batches=accumulated)
    leftover = vitals.leftover()
    assert leftover is not None and len(vitals.updates()) >= 4
    if optimizer is torch.optim.SGD:
        assert leftover == 0
    else:
        assert leftover > 0.5


@pytest.mark.parametrize("lean", [True, False])
def test_waiting_for_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lean: bool) -> None:
    clock = [
        0.0
    ]  # a clock that only batches move: of each epoch, those behind the first of it or of its first chunk
    batch = PointStore.batch

    def slow(store: PointStore, index: Tensor) -> object:
        clock[0] += len(index) == BATCH
        return batch(store, index)

    monkeypatch.setattr(PointStore, "batch", slow)
    monkeypatch.setattr("lit_mlfund.callbacks.vitals.time.perf_counter", lambda: clock[0])
    vitals = Vitals()
    fit(tmp_path, vitals, lean=lean)
    first = 10 if lean else 1
    assert (vitals.waited, vitals.worked) == (EPOCHS * (STEPS - first), 0)
