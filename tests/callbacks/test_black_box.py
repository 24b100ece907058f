"""A step that is not finite: not taken on either path, replayed, and told with operation, layer, row and column."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lit_mlfund.callbacks import BestAndLast, BlackBox, Progress, StopOnSignal
from lit_mlfund.callbacks.black_box import _with_inputs
from lit_mlfund.data.serving.batch import PointBatch
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import PointStore
from lit_mlfund.datamodules import DataModule
from lit_mlfund.diagnostics.evidence import NonFinite
from lit_mlfund.losses import BinaryCrossEntropyLoss
from lit_mlfund.modules import BinaryModule
from lit_mlfund.modules.steps.guard import NonFiniteStep
from lit_mlfund.runs.assembly.trainer import build_trainer
from lit_mlfund.startup.signals import StopRequest

BATCH, STEPS = 16, 23
SPEC = DataSpec("binary", {"numeric": Field("numeric", (3,), names=("a", "b", "c"))}, classes=("no", "yes"))
BAD = 5 * BATCH + 3  # row of the split, in the sixth batch of its order


class Net(nn.Module):
    """Divides by an input that is zero in one row, or passes on one that is not finite."""

    def __init__(self, divide: bool) -> None:
        super().__init__()
        self.norm, self.body, self.drop = nn.BatchNorm1d(3), nn.Linear(3, 4), nn.Dropout(0.3)
        self.quotient, self.head = Quotient() if divide else nn.Identity(), nn.Linear(4, 1)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        values = x["numeric"] if isinstance(self.quotient, Quotient) else self.norm(x["numeric"])
        y = self.drop(self.body(values))
        y = self.quotient(y, values) if isinstance(self.quotient, Quotient) else y
        return self.head(y).squeeze(-1)


class Quotient(nn.Module):
    def forward(self, y: Tensor, values: Tensor) -> Tensor:
        return y / values[:, :1]


class Data(DataModule):
    tasks = ("binary",)

    def __init__(self, value: float) -> None:
        super().__init__(batch_size=BATCH, seed=0)
        self.value = value

    def build(self) -> None:
        generator = torch.Generator().manual_seed(7)
        for split, size in (("train", BATCH * STEPS), ("val", 50), ("test", 50)):
            x = torch.randn(size, 3, generator=generator)
            y = (x[:, 0] > 0).float()
            if split == "train":
                x[BAD, 0] = self.value
            self.stores[split] = PointStore({"numeric": x}, y, index=torch.arange(size) + 1000)
        self.spec = SPEC

    def preprocessing(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def stop(
    folder: Path, value: float, lean: bool, **trainer: Any
) -> tuple[BinaryModule, BlackBox, NonFiniteStep, Any]:
    torch.manual_seed(0)
    module = BinaryModule(
        Net(divide=value == 0), BinaryCrossEntropyLoss(), SPEC,
        optimizer=lambda module: torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9), monitor="val/auroc",
    )  # fmt: skip
    box, checkpoints = BlackBox(folder), BestAndLast(folder)
    steps: list[list[Tensor]] = []
    built = build_trainer(
        callbacks=[box, Progress(), checkpoints, StopOnSignal(StopRequest(), checkpoints)],
        default_root_dir=str(folder), max_epochs=3, **trainer,
    )  # fmt: skip
    data = Data(value)
    data.setup()
    if lean:
        module.use_lean_steps(built)
        assert module.steps_per_call > 1
    original = module.make_optimizer

    def watched() -> torch.optim.Optimizer:
        optimizer = original()
        optimizer.register_step_post_hook(
            lambda *_: steps.append([parameter.detach().clone() for parameter in module.parameters()])
        )
        return optimizer

    module.make_optimizer = watched  # type: ignore[method-assign]
    with pytest.raises(NonFiniteStep) as stopped:
        built.fit(module, datamodule=data)
    return module, box, stopped.value, steps


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_the_step_is_not_taken_and_its_cause_is_told(tmp_path: Path, value: float, lean: bool) -> None:
    module, box, stopped, steps = stop(tmp_path, value, lean)
    found = box.found
    assert found is not None and found.step == len(steps) + 1 == stopped.found.step
    for before, now in zip(steps[-1], module.parameters()):
        assert torch.equal(before, now)
    assert all(bool(torch.isfinite(buffer).all()) for buffer in module.buffers())
    assert found.rows == [1000 + BAD]
    if value == 0:
        assert (found.phase, found.operation, found.layer) == ("forward", "div", "model.quotient")
        assert found.zero
    else:
        assert (found.phase, found.column) == ("input", "a")
    kept = torch.load(tmp_path / "nonfinite.pt", weights_only=True)
    assert 1000 + BAD in kept["batches"][0]["index"].tolist() and kept["step"] == found.step


@pytest.mark.parametrize("trainer", [{"accumulate_grad_batches": 3}, {"gradient_clip_algorithm": "value"}])
def test_on_lightnings_own_path(tmp_path: Path, trainer: dict[str, Any]) -> None:
    _, box, _, steps = stop(tmp_path, 0.0, lean=False, **trainer)
    assert box.found is not None and box.found.step == len(steps) + 1
    assert box.found.operation == "div" and box.found.rows == [1000 + BAD]


def test_dropout_is_drawn_again_as_it_was(tmp_path: Path) -> None:
    _, _, stopped, _ = stop(tmp_path, 0.0, lean=True)
    state = torch.get_rng_state()
    assert not torch.equal(stopped.random[0], state)
    first = torch.load(tmp_path / "nonfinite.pt", weights_only=True)["random"][0]
    assert torch.equal(first, stopped.random[0])


def test_the_largest_value_of_a_batch_and_its_column() -> None:
    x = torch.tensor([[1.0, -2.0, 3.0], [0.5, -40.0, 4.0]])
    found = NonFinite(step=1, loss=math.inf, norm=1.0)
    told = _with_inputs(found, PointBatch({"numeric": x}, torch.zeros(2)), SPEC)
    assert (told.largest, told.largest_column) == (40.0, "b")
