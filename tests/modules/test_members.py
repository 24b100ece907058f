"""Training with members: the mean of their losses, on every path, and what is fitted to the training rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lit_mlfund import losses
from lit_mlfund.callbacks import BestAndLast, Progress, StopOnSignal
from lit_mlfund.data.serving.batch import ListBatch, MixedBatch, PointBatch
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import ListStore, PointStore
from lit_mlfund.datamodules import DataModule
from lit_mlfund.models import MLP, TabM
from lit_mlfund.modules import BinaryModule, MulticlassModule, RankingModule, RegressionModule
from lit_mlfund.runs.assembly.trainer import build_trainer
from lit_mlfund.startup.signals import StopRequest
from tests.models.specs import make_inputs, make_spec

POINT: list[tuple[Any, Any, nn.Module]] = [
    (BinaryModule, "binary", losses.BinaryCrossEntropyLoss(pos_weight=2.0)),
    (BinaryModule, "binary", losses.FocalLoss()),
    (MulticlassModule, "multiclass", losses.CrossEntropyLoss(label_smoothing=0.1, class_weight=(1, 2, 3, 4))),
    (MulticlassModule, "multiclass", losses.HingeLoss()),
    (RegressionModule, "regression", losses.HuberLoss()),
]
LISTS = [losses.LambdaRankLoss(), losses.ListNetLoss(), losses.RankNetLoss(), losses.MSELoss()]


def make_point_batch(task: Any, weighted: bool = True) -> PointBatch:
    spec = make_spec(task, "numeric", "categorical")
    y = {"binary": torch.randint(0, 2, (7,)).float(), "multiclass": torch.randint(0, 4, (7,))}
    weight = torch.rand(7) if weighted else None
    return PointBatch(make_inputs(spec.inputs, 7), y.get(task, torch.randn(7)), weight, torch.arange(7))


def make_list_batch() -> ListBatch:
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    relevance = torch.randint(0, 3, (5, 3)).float() * mask
    x = make_inputs(make_spec("ranking", "numeric", "categorical").inputs, 5, 3)
    return ListBatch(x, relevance, mask, weight=torch.rand(5))


def make(cls: Any, task: Any, loss: nn.Module) -> Any:
    torch.manual_seed(0)
    spec = make_spec(task, "numeric", "categorical")
    return cls(TabM(spec, num_members=3, hidden=(8, 8), dropout=0.0), loss, spec)


def gradients(module: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(module.parameters())))


def assert_is_mean_of(module: Any, loss: Tensor, members: list[Tensor]) -> None:
    expected = torch.stack(members).mean()
    torch.testing.assert_close(loss, expected)
    assert len({member.item() for member in members}) == 3
    for gradient, wanted in zip(gradients(module, loss), gradients(module, expected)):
        torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("cls, task, loss", POINT)
def test_loss_and_gradient_are_means_over_members(
    cls: Any, task: Any, loss: nn.Module, weighted: bool
) -> None:
    module, batch = make(cls, task, loss), make_point_batch(task, weighted)
    outputs = module.model(batch.x, members=True)
    assert outputs.shape[:2] == (3, 7)
    each = [loss(output, module.loss_target(batch.y), weight=batch.weight) for output in outputs]
    assert_is_mean_of(module, module.batch_loss(batch), each)


def test_mixed_examples_reach_every_member() -> None:
    module, batch = make(*POINT[0]), make_point_batch("binary")
    mixed = MixedBatch(batch.x, batch.y, batch.weight, None, batch.y.flip(0), torch.rand(7), torch.rand(7))
    target, weight = mixed.targets_and_weights()
    outputs = module.model(batch.x, members=True)
    each = [module.loss(torch.cat([output, output]), target, weight=weight) for output in outputs]
    assert_is_mean_of(module, module.batch_loss(mixed), each)


@pytest.mark.parametrize("loss", LISTS)
def test_lists_are_ranked_by_every_member(loss: nn.Module) -> None:
    module, batch = make(RankingModule, "ranking", loss), make_list_batch()
    outputs = module.model(batch.x, mask=batch.mask, members=True)
    each = [module._loss(output, batch) for output in outputs]
    assert_is_mean_of(module, module.batch_loss(batch), each)


@pytest.mark.parametrize("cls, task, loss", POINT)
def test_evaluation_is_of_the_mean_prediction(cls: Any, task: Any, loss: nn.Module) -> None:
    module, batch = make(cls, task, loss).eval(), make_point_batch(task)
    value, outputs = module.outputs(batch)
    assert torch.equal(outputs.output, module.natural(module.model(batch.x)))
    assert len(outputs) == 7
    assert torch.equal(value, loss(module.model(batch.x), module.loss_target(batch.y), weight=batch.weight))


def test_curvature_has_a_draw_for_every_member() -> None:
    module, batch = make(BinaryModule, "binary", losses.BinaryCrossEntropyLoss()), make_point_batch("binary")
    drawn, weight = module.losses_of_draws(batch, np.random.default_rng(0))
    assert drawn is not None and weight is not None
    assert drawn.shape == weight.shape == (21,) and torch.equal(weight[:7], weight[7:14])


# --- training ---------------------------------------------------------------------------------------------


class Data(DataModule):
    """Ten batches of 32 rows, or 320 lists; the numbers are skewed."""

    tasks = ("binary", "ranking")
    lists = False

    def build(self) -> None:
        generator = torch.Generator().manual_seed(7)
        for split, size in (("train", 320), ("val", 64), ("test", 64)):
            rows = 3 * size if self.lists else size
            x = {"numeric": torch.rand(rows, 2, generator=generator) ** 3}
            x["numeric"][:, 1] = (x["numeric"][:, 1] > 0.3).float()
            y = (x["numeric"][:, 0] > 0.2).float()
            if self.lists:
                self.stores[split] = ListStore(x, y, torch.arange(0, rows + 1, 3))
            else:
                self.stores[split] = PointStore(x, y)
        self.spec = DataSpec(
            "ranking" if self.lists else "binary",
            {"numeric": Field("numeric", (2,))},
            classes=() if self.lists else ("no", "yes"),
        )

    def preprocessing(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class Lists(Data):
    lists = True


def fit(
    folder: Path, *, lean: bool = True, data: Data | None = None, model: Any = TabM, **options: Any
) -> Any:
    data = data or Data(batch_size=32, seed=3)
    data.setup()
    torch.manual_seed(0)
    options = {"hidden": (8, 8), "numeric_embedding": "piecewise_linear", **options}
    cls = RankingModule if data.lists else BinaryModule
    module = cls(model(data.spec, **options), spec=data.spec)
    checkpoints = BestAndLast(folder)
    callbacks = [Progress(), checkpoints, StopOnSignal(StopRequest(), checkpoints)]
    trainer = build_trainer(callbacks=callbacks, default_root_dir=str(folder), max_epochs=2)
    if lean:
        module.use_lean_steps(trainer)
    trainer.fit(module, datamodule=data)
    assert (module.steps_per_call > 1) == lean
    return module


@pytest.mark.parametrize("mini", [True, False])
def test_the_lean_step_has_the_weights_of_the_plain_one(tmp_path: Path, mini: bool) -> None:
    lean, plain = fit(tmp_path / "a", mini=mini), fit(tmp_path / "b", mini=mini, lean=False)
    for name, value in lean.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name


@pytest.mark.parametrize("model", [TabM, MLP])
@pytest.mark.parametrize("kind", [Data, Lists])
def test_bins_are_fitted_to_the_training_rows(tmp_path: Path, model: Any, kind: Any) -> None:
    module = fit(tmp_path, data=kind(batch_size=32, seed=3), model=model)
    embedding = module.model.encoder.encoders["numeric"]
    rows = module.trainer.datamodule.stores["train"].x["numeric"].numpy()
    expected = np.quantile(rows[:, 0], np.linspace(0, 1, 33)).astype(np.float32)
    np.testing.assert_array_equal(embedding.edges[0].numpy(), expected)
    assert (
        embedding.edges[1].tolist() == [0.0] + [1.0] * 32
    )  # two values: one bin, the others without a width


def test_a_checkpoint_holds_the_bins(tmp_path: Path) -> None:
    module = fit(tmp_path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    other = BinaryModule(
        TabM(module.spec, hidden=(8, 8), numeric_embedding="piecewise_linear"), spec=module.spec
    )
    other.load_state_dict(state)
    x = module.trainer.datamodule.whole("val").x
    assert torch.equal(other.eval().model(x), module.eval().model(x))
    assert other.model.encoder.fitted  # a training that goes on keeps the bins
