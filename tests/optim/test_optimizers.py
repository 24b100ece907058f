"""Tests first steps against formulas, all forms of parameters, resuming, and missing libraries."""

from __future__ import annotations

import copy
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lit_mlfund import optim
from lit_mlfund.optim.extras import MissingExtraError
from lit_mlfund.optim.groups import as_groups

NEEDS = {
    "adamw8bit": "bitsandbytes",
    "lion": "pytorch_optimizer",
    "sophia": "pytorch_optimizer",
    "schedule_free": "schedulefree",
}


def installed(name: str) -> Any:
    missing = name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason=f"{NEEDS.get(name)} is not installed"))


NAMES = ["sgd", "adam", "adamw", "adafactor", "adamw8bit", "lion", "sophia", "muon", "schedule_free"]
ALL = [installed(name) for name in NAMES]
W = torch.tensor([0.5, -2.0, 3.0])
G = torch.tensor([0.1, 0.4, -0.02])


def maker(name: str) -> Callable[..., Any]:
    """Return the function of that name; 8-bit AdamW gets a large parameter too, since it rejects only small ones."""
    make = getattr(optim, name)
    if name != "adamw8bit":
        return make

    def make_with_large(params: Any, **options: Any) -> Any:
        groups = as_groups(params)
        large = nn.Parameter(torch.zeros(4096))
        named = isinstance(groups[0]["params"][0], tuple)
        return make([*groups, {"params": [("large", large) if named else large]}], **options)

    return make_with_large


def rms(value: Tensor) -> Tensor:
    return value.square().mean().sqrt()


def sophia_step(lr: float, decay: float) -> Tensor:
    momentum, curvature = 0.04 * G, 0.01 * 512 * G**2
    return W * (1 - lr * decay) - lr * (momentum / curvature).clamp(-0.01, 0.01)


FIRST_STEPS: dict[str, Callable[[float, float], Tensor]] = {
    "sgd": lambda lr, decay: W - lr * (G + decay * W),
    "adam": lambda lr, decay: W - lr * (G + decay * W).sign(),
    "adamw": lambda lr, decay: W * (1 - lr * decay) - lr * G.sign(),
    "adafactor": lambda lr, decay: W * (1 - lr * decay) - lr * rms(W) * G.sign(),
    "adamw8bit": lambda lr, decay: W * (1 - lr * decay) - lr * G.sign(),
    "lion": lambda lr, decay: W * (1 - lr * decay) - lr * G.sign(),
    "sophia": sophia_step,
    "muon": lambda lr, decay: W * (1 - lr * decay) - lr * G.sign(),  # a vector: AdamW
    "schedule_free": lambda lr, decay: W - lr * (G.sign() + decay * W),
}


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("name", ALL)
def test_first_step(name: str, decay: float) -> None:
    weight = nn.Parameter(W.clone())
    optimizer = maker(name)([weight], lr=1e-2, weight_decay=decay)
    weight.grad = G.clone()
    optimizer.step()
    if name == "schedule_free":
        optimizer.eval()
    torch.testing.assert_close(weight.detach(), FIRST_STEPS[name](1e-2, decay), rtol=1e-5, atol=1e-6)


def test_muon_moves_a_matrix_by_an_orthogonal_one() -> None:
    torch.manual_seed(0)
    weight, gradient = nn.Parameter(torch.randn(6, 10)), torch.randn(6, 10)
    start = weight.detach().clone()
    optimizer = optim.muon([weight], lr=1e-2, weight_decay=0.3)
    weight.grad = gradient.clone()
    optimizer.step()
    moved = (start * (1 - 1e-2 * 0.3) - weight.detach()) / (1e-2 * 0.2 * 10**0.5)
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    aligned = left.T @ moved @ right.T  # the identity, but for Newton-Schulz in bfloat16
    assert ((aligned.diagonal() > 0.6) & (aligned.diagonal() < 1.3)).all()
    assert (aligned - aligned.diagonal().diag()).abs().max() < 0.1


def test_muon_takes_hidden_matrices_only() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.hidden, self.head = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            self.conv = nn.Conv2d(1, 1, 3)

    net = Net()
    for weight_decay in (0.0, 0.1):
        optimizer = optim.muon(optim.parameter_groups(net, weight_decay), weight_decay=weight_decay)
        algorithms = {
            name: group["algorithm"] for group in optimizer.param_groups for name in group["param_names"]
        }
        assert [name for name, algorithm in algorithms.items() if algorithm == "muon"] == ["hidden.weight"]
        assert len(algorithms) == 7
        decays = {name: g["weight_decay"] for g in optimizer.param_groups for name in g["param_names"]}
        assert decays["hidden.weight"] == decays["head.weight"] == weight_decay
        assert decays["table.weight"] == decays["hidden.bias"] == 0


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 8))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 0) -> float:
    generator = torch.Generator().manual_seed(seed)
    loss = torch.tensor(0.0)
    for _ in range(steps):
        x = torch.randn(32, 8, generator=generator)
        loss = (model(x) - x.flip(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("name", ALL)
def test_descends_from_every_form_of_parameters(name: str) -> None:
    make = maker(name)
    lr = {"sgd": 0.1, "adafactor": 0.05, "sophia": 1.0}.get(name, 1e-2)
    forms: list[Callable[[nn.Module], Any]] = [
        lambda model: model.parameters(),
        lambda model: list(model.named_parameters()),
        lambda model: optim.parameter_groups(model, 1e-2),
    ]
    for form in forms:
        model = small_net()
        before = train(model, torch.optim.SGD(model.parameters(), lr=0.0), 1)
        assert train(model, make(form(model), lr=lr), 60) < 0.8 * before


@pytest.mark.parametrize("name", ALL)
def test_resumes_to_the_bit(name: str) -> None:
    make = maker(name)
    whole = small_net()
    optimizer = make(optim.parameter_groups(whole, 1e-2))
    train(whole, optimizer, 3)
    stopped = copy.deepcopy(whole)
    state = copy.deepcopy(optimizer.state_dict())
    train(whole, optimizer, 12, seed=1)

    resumed = make(optim.parameter_groups(stopped, 1e-2))
    resumed.load_state_dict(state)
    train(stopped, resumed, 12, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), stopped.parameters()))


@pytest.mark.parametrize("name", ALL)
def test_a_group_keeps_its_own_options(name: str) -> None:
    a, b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = maker(name)(
        [{"params": [a], "lr": 0.5, "weight_decay": 0.25}, {"params": [b]}], lr=0.125, weight_decay=0.0
    )
    options = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert options[:2] == [(0.5, 0.25), (0.125, 0.0)]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon"])
def test_a_closure_runs_once_with_gradients(name: str) -> None:
    weight = nn.Parameter(W.clone())
    optimizer = getattr(optim, name)([weight])
    calls = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        calls.append(loss.item())
        return loss

    assert optimizer.step(closure).item() == W.square().sum().item()
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_fused_equals_plain_and_can_be_clipped(name: str) -> None:
    make = getattr(optim, name)
    fused, plain = small_net(), small_net()
    optimizer = make(optim.parameter_groups(fused, 1e-2))
    assert all(group["fused"] for group in optimizer.param_groups)
    # with this flag Lightning refuses to clip gradients in mixed precision
    assert not getattr(optimizer, "_step_supports_amp_scaling", False)
    train(fused, optimizer, 10)
    train(plain, make(optim.parameter_groups(plain, 1e-2), fused=False), 10)
    for a, b in zip(fused.parameters(), plain.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_sophia_takes_the_curvature_of_sampled_labels() -> None:
    pytest.importorskip("pytorch_optimizer")
    weight = nn.Parameter(W.clone())
    optimizer: Any = optim.sophia([weight], lr=1.0, clip=1e9, weight_decay=0.0, update_period=1)
    sampled = torch.tensor([0.3, 0.2, 0.1])
    weight.grad = sampled.clone()
    optimizer.record_curvature(64)
    weight.grad = G.clone()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), W - 0.04 * G / (0.01 * 64 * sampled**2))
    weight.data.copy_(W)
    weight.grad = G.clone()
    optimizer.step()  # nothing recorded: the curvature stays, the training gradient never replaces it
    momentum = 0.96 * 0.04 * G + 0.04 * G
    torch.testing.assert_close(weight.detach(), W - momentum / (0.01 * 64 * sampled**2))
    assert set(optimizer.state[weight]) == {"momentum", "hessian_moment"}


def test_sophia_refuses_impossible_periods() -> None:
    pytest.importorskip("pytorch_optimizer")
    with pytest.raises(ValueError, match="update_period must be at least 1, got 0"):
        optim.sophia([nn.Parameter(W)], update_period=0)
    with pytest.raises(ValueError, match="num_examples must be at least 1, got 0"):
        optim.sophia([nn.Parameter(W)], num_examples=0)


@pytest.mark.parametrize(
    "name, extra",
    [("lion", "optim"), ("sophia", "optim"), ("schedule_free", "optim"), ("adamw8bit", "bitsandbytes")],
)
def test_a_missing_library_names_its_extra(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from lit_mlfund.optim import second_order

    second_order._sophia_g.cache_clear()
    monkeypatch.setitem(sys.modules, NEEDS[name], None)
    with pytest.raises(MissingExtraError, match=rf"{name} needs {NEEDS[name]} .*lit_mlfund\[{extra}\]"):
        getattr(optim, name)([nn.Parameter(W)])
    assert issubclass(MissingExtraError, ValueError) and issubclass(MissingExtraError, ImportError)


def test_8_bit_refuses_parameters_that_are_all_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", types.ModuleType("bitsandbytes"))
    with pytest.raises(
        ValueError, match="the largest parameter has 3 elements, fewer than min_8bit_size=4096"
    ):
        optim.adamw8bit([nn.Parameter(W)])


def test_muon_needs_a_torch_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(MissingExtraError, match=r"muon needs torch >= 2.9"):
        optim.muon([nn.Parameter(W)])
