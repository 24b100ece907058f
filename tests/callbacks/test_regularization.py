"""Tests regularization against hand-written loops, in both kinds of training step, and across stop and resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from lit_mlfund.callbacks import EMA, L1, L2, SWA, BestAndLast, Mixup, Progress, StopOnSignal
from lit_mlfund.data.serving.batch import MixedBatch, PointBatch
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.losses import BinaryCrossEntropyLoss, CrossEntropyLoss
from lit_mlfund.modules import BinaryModule, MulticlassModule
from lit_mlfund.optim import adamw, muon, sgd
from lit_mlfund.runs.assembly.trainer import build_trainer
from lit_mlfund.startup.signals import Stopped, StopRequest
from tests.callbacks.test_resume import SignalAtStep, keep_handlers  # noqa: F401
from tests.modules.test_lean import BATCH, EPOCHS, SPEC, STEPS, Data, Net

State = dict[str, Tensor]
LR = 0.05


def make_module(dropout: float = 0.0, optimizer: Callable[..., Any] | None = None) -> BinaryModule:
    torch.manual_seed(0)
    make = optimizer or (lambda parameters: torch.optim.SGD(parameters, lr=LR, momentum=0.9))
    return BinaryModule(
        Net(dropout),
        BinaryCrossEntropyLoss(),
        SPEC,
        optimizer=lambda module: make(module.parameters()),
        schedule=lambda optimizer, steps: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps),
    )


def fit(
    folder: Path,
    *callbacks: Callback,
    lean: bool = True,
    resume: bool = False,
    module: Any = None,
    epochs: int = EPOCHS,
) -> BinaryModule:
    module = module or make_module()
    data = Data(batch_size=BATCH, seed=3)
    data.setup()
    checkpoints = BestAndLast(folder)
    always = [Progress(), checkpoints, StopOnSignal(StopRequest().install(), checkpoints)]
    trainer = build_trainer(max_epochs=epochs, callbacks=[*callbacks, *always], default_root_dir=str(folder))
    if lean:
        module.use_lean_steps(trainer)
    path = str(checkpoints.last_path) if resume else None
    trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    assert module.steps_per_call == (10 if lean else 1)
    return module


def hand_loop(
    penalty: Callable[[nn.Module], Any] = lambda model: 0.0,
    after: Callable[[nn.Module, float], None] = lambda model, lr: None,
) -> State:
    module = make_module()
    data = Data(batch_size=BATCH, seed=3)
    data.setup()
    loader = BatchLoader(data.stores["train"], BATCH, shuffle=True, seed=3)
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, STEPS * EPOCHS)
    for _ in range(EPOCHS):
        for batch in loader:
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(module.model(batch.x), batch.y)
            (loss + penalty(module.model)).backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            after(module.model, optimizer.param_groups[0]["lr"])
            schedule.step()
    return module.state_dict()


def assert_equal(actual: State, expected: State) -> None:
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("lean", [True, False])
def test_l1_is_proximal_gradient_descent(tmp_path: Path, lean: bool) -> None:
    @torch.no_grad()
    def shrink(model: nn.Module, lr: float) -> None:
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.copy_(torch.where(weight.abs() > lr * 0.01, weight - lr * 0.01 * weight.sign(), 0.0))

    module = fit(tmp_path, L1(strength=0.01), lean=lean)
    assert_equal(module.state_dict(), hand_loop(after=shrink))


@pytest.mark.parametrize(
    ("make", "lr", "strength"), [(adamw, 3e-3, 1.0), (sgd, 0.05, 0.05), (muon, 3e-3, 0.8)]
)
def test_l1_makes_exact_zeros_under_any_optimizer(
    tmp_path: Path, make: Any, lr: float, strength: float
) -> None:
    callback = L1(strength=strength)
    module = fit(tmp_path, callback, module=make_module(optimizer=lambda p: make(p, lr=lr)))
    evidence = callback.finding(module, module.trainer.datamodule).evidence
    weight = module.model.layers[0].weight
    zeros = int((weight == 0).sum()) + int((module.model.layers[3].weight == 0).sum())
    assert evidence["zero_share"] == zeros / (30 * 64 + 64) > 0.5
    if (module.model.layers[3].weight != 0).all():
        columns = [f"numeric[{c}]" for c in range(30) if bool((weight[:, c] == 0).all())]
        assert evidence["unused_inputs"] == columns


def test_l1_names_the_inputs_that_do_not_matter(tmp_path: Path) -> None:
    module, callback = make_module(), L1(strength=0.2)
    module.model.layers = nn.Linear(30, 1)
    nn.init.zeros_(module.model.layers.weight)
    fit(tmp_path, callback, module=module)
    finding = callback.finding(module, module.trainer.datamodule)
    assert finding.evidence["unused_inputs"] == [f"numeric[{column}]" for column in range(2, 30)]
    assert finding.evidence["num_inputs"] == 30
    assert "28 of 30 inputs are no longer used: numeric[2], " in finding.symptom


def test_l1_of_some_weights(tmp_path: Path) -> None:
    module = fit(tmp_path, L1(strength=10.0, parameters="layers.0.*"), epochs=1)
    assert bool((module.model.layers[0].weight == 0).all())
    assert not bool((module.model.layers[0].bias == 0).all())
    assert not bool((module.model.layers[3].weight == 0).any())
    with pytest.raises(ValueError, match=r"no weight of the model has a name that matches terms\*"):
        fit(tmp_path, L1(parameters="terms*"))
    with pytest.raises(ValueError, match="strength"):
        L1(strength=-1.0)


@pytest.mark.parametrize("lean", [True, False])
def test_l2_is_in_the_gradient(tmp_path: Path, lean: bool) -> None:
    def penalty(model: nn.Module) -> Tensor:
        return 0.05 / 2 * sum((w**2).sum() for w in model.parameters() if w.ndim == 2)

    module = fit(tmp_path, L2(strength=0.05), lean=lean)
    expected = hand_loop(penalty)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    assert module.penalties == []
    plain = hand_loop()
    assert module.model.layers[0].weight.norm() < 0.8 * plain["model.layers.0.weight"].norm()


class RecordsWeights(Callback):
    """Records the weights that each validation uses."""

    many_steps = True

    def __init__(self) -> None:
        self.validated: list[State] = []

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.validated.append({name: value.clone() for name, value in pl_module.state_dict().items()})


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("make", [lambda: EMA(decay=0.95), lambda: SWA(start=0.6)])
def test_averages_are_evaluated_and_saved(tmp_path: Path, lean: bool, make: Callable[[], Any]) -> None:
    steps: list[State] = []
    expected_weights = hand_loop(
        after=lambda model, lr: steps.append({k: v.clone() for k, v in model.state_dict().items()})
    )
    name = "layers.0.weight"
    callback, recorder = make(), RecordsWeights()
    module = fit(tmp_path, callback, recorder, lean=lean)
    expected = {}
    torch.manual_seed(0)
    average, count = Net().state_dict()[name], 0
    for number, state in enumerate(steps, 1):
        if isinstance(callback, EMA):
            decay = min(0.95, (1 + count) / (10 + count))
            average, count = decay * average + (1 - decay) * state[name], count + 1
        elif number > 2 * STEPS:  # from epoch 2 of 3 on
            count += 1
            average = sum(s[name] for s in steps[2 * STEPS : number]) / count
        else:
            average = state[name]
        expected[number] = average
    for epoch, weights in enumerate(recorder.validated, 1):
        torch.testing.assert_close(weights[f"model.{name}"], expected[epoch * STEPS], rtol=1e-4, atol=1e-6)
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert_equal(last["state_dict"], recorder.validated[-1])
    assert_equal(module.state_dict(), recorder.validated[-1])
    (saved,) = [state for key, state in last["callbacks"].items() if key.startswith(type(callback).__name__)]
    assert_equal(saved["weights"], expected_weights)  # averaging does not change the training itself


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("step", [17, 90])
@pytest.mark.parametrize(
    "make",
    [
        lambda: [L1(strength=0.01), Mixup(seed=1)],
        lambda: [L2(strength=0.01), EMA(decay=0.95)],
        lambda: [SWA(start=0.6)],
    ],
)
def test_resumed_to_the_bit(
    tmp_path: Path, lean: bool, step: int, make: Callable[[], list[Callback]]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = fit(whole, *make(), lean=lean, module=make_module(dropout=0.3))
    with pytest.raises(Stopped):
        fit(cut, *make(), SignalAtStep(step), lean=lean, module=make_module(dropout=0.3))
    resumed = fit(cut, *make(), lean=lean, resume=True, module=make_module(dropout=0.3))
    assert_equal(resumed.state_dict(), expected.state_dict())
    for name in ("best.ckpt", "last.ckpt"):
        states = [torch.load(folder / name, weights_only=True)["state_dict"] for folder in (whole, cut)]
        assert_equal(*states)


def batch_of(y: Tensor, weight: Tensor | None = None) -> PointBatch:
    x = torch.randn(len(y), 30, generator=torch.Generator().manual_seed(1))
    return PointBatch({"numeric": x}, y, weight, torch.arange(len(y)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
def test_mixup_is_a_mean_of_two_losses(classes: int, weighted: bool) -> None:
    torch.manual_seed(0)
    spec = DataSpec("binary", {"numeric": Field("numeric", (30,))}, classes=tuple("abcde"[:classes]))
    model = nn.Sequential(nn.Linear(30, 1 if classes == 2 else classes))
    forward = (lambda x: model(x["numeric"]).squeeze(-1)) if classes == 2 else (lambda x: model(x["numeric"]))
    net = nn.Module()
    net.forward = forward  # type: ignore[method-assign]
    kind: Any = (
        (BinaryModule, BinaryCrossEntropyLoss) if classes == 2 else (MulticlassModule, CrossEntropyLoss)
    )
    module = kind[0](net, kind[1](), spec)
    y = torch.arange(8) % classes
    batch = batch_of(y.float() if classes == 2 else y, torch.rand(8) + 0.5 if weighted else None)
    mixup = Mixup(seed=0, alpha=1.0)
    mixup.names = ["numeric"]
    mixed = mixup.transform(batch, epoch=3)
    assert isinstance(mixed, MixedBatch)
    again = mixup.transform(batch, epoch=3)
    assert torch.equal(mixed.x["numeric"], again.x["numeric"])
    assert not torch.equal(mixed.x["numeric"], mixup.transform(batch, epoch=4).x["numeric"])
    assert mixed.share is not None and mixed.other is not None
    partner = [
        next(
            j
            for j in range(8)
            if torch.allclose(
                mixed.share[i] * batch.x["numeric"][i] + (1 - mixed.share[i]) * batch.x["numeric"][j],
                mixed.x["numeric"][i],
                atol=1e-5,
            )
        )
        for i in range(8)
    ]
    assert sorted(partner) == list(range(8))
    assert torch.equal(mixed.other, batch.y[partner])
    output = forward(mixed.x)
    each = nn.functional.binary_cross_entropy_with_logits if classes == 2 else nn.functional.cross_entropy
    first, second = (each(output, target, reduction="none") for target in (batch.y, batch.y[partner]))
    weight = torch.ones(8) if batch.weight is None else batch.weight
    part = mixed.share * weight, (1 - mixed.share) * weight[partner]
    expected = (part[0] * first + part[1] * second).sum() / (part[0] + part[1]).sum()
    torch.testing.assert_close(module.batch_loss(mixed), expected)


class CountsTransforms(Mixup):
    def transform(self, batch: PointBatch, epoch: int) -> PointBatch:
        self.epochs = [*getattr(self, "epochs", []), epoch]
        return super().transform(batch, epoch)


@pytest.mark.parametrize("lean", [True, False])
def test_only_training_batches_are_changed(tmp_path: Path, lean: bool) -> None:
    callback = CountsTransforms(seed=0)
    module = fit(tmp_path, callback, lean=lean)
    assert callback.epochs == [epoch for epoch in range(EPOCHS) for _ in range(STEPS)]
    assert module.transforms == []
    before = module.trainer.callback_metrics["val/loss"]
    module.trainer.validate(module, datamodule=module.trainer.datamodule, verbose=False)
    assert module.trainer.callback_metrics["val/loss"] == before


def test_mixup_refuses_what_cannot_be_mixed() -> None:
    spec = DataSpec("binary", {"numeric": Field("numeric", (3,)), "categorical": Field("categorical", (1,))})
    with pytest.raises(ValueError, match="the data have categorical inputs"):
        Mixup().check(spec)
