"""Gauss–Newton–Bartlett: the exact curvature in the mean; the same in both kinds of step, and resumed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from lightning.pytorch import Callback
from torch import Tensor, nn

from lit_mlfund.callbacks import BestAndLast, StopOnSignal
from lit_mlfund.data.serving.batch import PointBatch
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.losses import BinaryCrossEntropyLoss, CrossEntropyLoss, HuberLoss, MSELoss
from lit_mlfund.modules import BinaryModule, MulticlassModule, RegressionModule
from lit_mlfund.modules.curvature import Curvature, losses_of_draws
from lit_mlfund.runs.assembly.trainer import build_trainer
from lit_mlfund.startup.signals import Stopped, StopRequest
from tests.callbacks.test_resume import SignalAtStep, keep_handlers  # noqa: F401
from tests.modules.test_lean import BATCH, EPOCHS, Data, make_module

ROWS = 6


class Recorder:
    """An optimizer that keeps what it is told of curvature."""

    def __init__(self, parameters: Any) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "step": 0}]
        self.wants_curvature = True
        self.diagonals: list[Tensor] = []

    def record_curvature(self, num_examples: int) -> None:
        gradients = [p.grad.flatten() for p in self.param_groups[0]["params"]]
        self.diagonals.append(num_examples * torch.cat(gradients) ** 2)
        self.param_groups[0]["step"] += 1


def small_module(kind: str) -> Any:
    torch.manual_seed(0)
    outputs = {"multiclass": 4}.get(kind, 1)
    layers = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, outputs))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, x: dict[str, Tensor]) -> Tensor:
            output = self.layers(2 * x["numeric"])
            return output if outputs > 1 else output.squeeze(-1)

    spec = DataSpec("binary", {"numeric": Field("numeric", (3,))}, classes=tuple("abcd"[: max(outputs, 2)]))
    module: Any = {
        "binary": lambda: BinaryModule(Net(), BinaryCrossEntropyLoss(label_smoothing=0.1), spec),
        "multiclass": lambda: MulticlassModule(Net(), CrossEntropyLoss(label_smoothing=0.2), spec),
        "regression": lambda: RegressionModule(Net(), MSELoss(), spec),
    }[kind]()
    module.trainer = type("OneProcess", (), {"world_size": 1, "is_global_zero": True, "global_rank": 0})()
    return module


def gauss_newton_diagonal(module: Any, batch: PointBatch) -> Tensor:
    """Mean over rows of diag(Jᵀ H J), H the Hessian of the loss in the output, both by autograd."""
    parameters = list(module.model.parameters())
    share = torch.ones(len(batch)) if batch.weight is None else batch.weight
    total = torch.zeros(sum(p.numel() for p in parameters))
    for row in range(len(batch)):
        x, y = {"numeric": batch.x["numeric"][row : row + 1]}, batch.y[row : row + 1]
        output = module.model(x)
        jacobian = torch.stack(
            [
                torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)])
                for value in output.flatten()
            ]
        )
        hessian = torch.autograd.functional.hessian(lambda o, y=y: module.loss(o, y), output.detach())
        hessian = hessian.reshape(output.numel(), output.numel())
        total += share[row] * torch.einsum("kp,kl,lp->p", jacobian, hessian, jacobian)
    return total / share.sum()


def rows_of(kind: str, weighted: bool) -> PointBatch:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 3, generator=generator)
    y = torch.arange(ROWS) % (4 if kind == "multiclass" else 2)
    weight = torch.rand(ROWS, generator=generator) + 0.1 if weighted else None
    return PointBatch({"numeric": x}, y if kind == "multiclass" else y.float(), weight, torch.arange(ROWS))


def check_mean(draws: Tensor, module: Any, batch: PointBatch, rel: float = 0.1) -> None:
    """The mean of `draws` is the exact diagonal, but for Monte-Carlo error."""
    draws, exact = draws.double(), gauss_newton_diagonal(module, batch).double()
    error = draws.std(0) / len(draws) ** 0.5
    assert exact.max() > 1e-3
    z = (draws.mean(0) - exact) / error.clamp(min=1e-9)
    assert z.abs().max() < 4.5  # of about 40 parameters
    assert draws.mean(0).sum() == pytest.approx(exact.sum().item(), rel=rel)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_the_mean_estimate_is_the_gauss_newton_diagonal(kind: str, weighted: bool) -> None:
    module, batch = small_module(kind), rows_of(kind, weighted)
    recorder = Recorder(module.model.parameters())
    curvature = Curvature(module, recorder)
    for _ in range(1500):
        curvature.before_step(batch)
    assert all(parameter.grad is None for parameter in module.model.parameters())
    check_mean(torch.stack(recorder.diagonals), module, batch)


def process(rank: int, port: int, folder: str) -> None:
    """One of two: its half of the rows, its own draws; what it records goes into a file."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    module, batch = small_module("multiclass"), rows_of("multiclass", weighted=False)
    module.trainer = type("OfTwo", (), {"world_size": 2, "global_rank": rank, "is_global_zero": rank == 0})()
    half = PointBatch({"numeric": batch.x["numeric"][rank::2]}, batch.y[rank::2])
    recorder = Recorder(module.model.parameters())
    curvature = Curvature(module, recorder)
    for _ in range(300):
        curvature.before_step(half)
    torch.save(torch.stack(recorder.diagonals), f"{folder}/{rank}.pt")


@pytest.mark.slow
def test_two_processes_estimate_the_curvature_of_all_rows(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(process, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(first, second)
    check_mean(first, small_module("multiclass"), rows_of("multiclass", weighted=False), rel=0.2)


@pytest.mark.parametrize(
    "loss", [HuberLoss(), BinaryCrossEntropyLoss(pos_weight=2.0), CrossEntropyLoss(class_weight=[1.0, 2.0])]
)
def test_what_is_no_likelihood_is_left_to_the_optimizer(loss: nn.Module) -> None:
    assert losses_of_draws(loss, torch.zeros(3, 2), np.random.default_rng(0)) is None


def test_the_optimizer_estimates_where_nothing_can_be_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    module = small_module("regression")
    module.loss = HuberLoss()
    recorder = Recorder(module.model.parameters())
    curvature = Curvature(module, recorder)
    batch = PointBatch({"numeric": torch.randn(ROWS, 3)}, torch.zeros(ROWS))
    for _ in range(2):
        curvature.before_step(batch)
    assert recorder.diagonals == []
    assert capfd.readouterr().err == (
        "curvature: from training gradients, as HuberLoss defines no distribution to draw from\n"
    )


def fit(folder: Path, *callbacks: Callback, lean: bool, resume: bool = False, accumulate: int = 1) -> Any:
    from lit_mlfund.optim import sophia

    module, data = make_module(dropout=0.3), Data(batch_size=BATCH // accumulate, seed=3)
    module.optimizer = lambda module: sophia(module.parameters(), lr=0.3, update_period=10)
    data.setup()
    checkpoints = BestAndLast(folder)
    stop = StopOnSignal(StopRequest().install(), checkpoints)
    trainer = build_trainer(
        max_epochs=EPOCHS,
        accumulate_grad_batches=accumulate,
        callbacks=[*callbacks, checkpoints, stop],
        default_root_dir=str(folder),
    )
    if lean:
        module.use_lean_steps(trainer)
    trainer.fit(module, datamodule=data, ckpt_path=str(checkpoints.last_path) if resume else None)
    return module


class CountsDraws:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[int] = []
        original: Callable[..., None] = Curvature.before_step

        def counting(curvature: Curvature, batch: Any) -> None:
            wanted = curvature.optimizer.wants_curvature
            original(curvature, batch)
            if wanted:
                self.steps.append(curvature.optimizer.param_groups[0].get("step", 0))

        monkeypatch.setattr(Curvature, "before_step", counting)


def test_every_kind_of_step_resumed_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytorch_optimizer")
    counts = CountsDraws(monkeypatch)
    expected = fit(tmp_path / "lean", lean=True).state_dict()
    due = list(range(0, 37 * EPOCHS, 10))
    assert counts.steps == due
    states = [fit(tmp_path / "driven", lean=False).state_dict()]
    assert counts.steps == [*due, *due]
    for lean in (True, False):
        with pytest.raises(Stopped):
            fit(tmp_path / f"cut{lean}", SignalAtStep(37), lean=lean)
        states.append(fit(tmp_path / f"cut{lean}", lean=lean, resume=True).state_dict())
    for state in states:
        for name, value in state.items():
            assert torch.equal(value, expected[name]), name


def test_once_for_an_accumulated_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytorch_optimizer")
    counts = CountsDraws(monkeypatch)
    module = fit(tmp_path, lean=False, accumulate=2)
    assert module.trainer.global_step == 37 * EPOCHS
    assert counts.steps == list(range(0, 37 * EPOCHS, 10))
