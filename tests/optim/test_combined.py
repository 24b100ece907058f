"""Tests combined optimizers: the steps, states, groups and modes of the parts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from lit_mlfund import optim
from lit_mlfund.optim import Combined, RowwiseAdagrad, parameter_groups
from tests.optim.test_optimizers import ALL


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(50, 4, sparse=True)
        self.hidden, self.head = nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.hidden(self.table(ids).flatten(1)).relu())


def train(net: nn.Module, optimizers: list[Optimizer], steps: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        ids = torch.randint(50, (16, 2), generator=generator)
        net.zero_grad()
        (net(ids).squeeze(1) - (ids[:, 0] % 3)).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()


def make(net: Net, name: str = "adamw") -> Combined:
    groups = parameter_groups(net, 1e-2, skip=[net.table.weight])
    tables = [{"name": "tables", "params": [("table.weight", net.table.weight)]}]
    return Combined([getattr(optim, name)(groups), RowwiseAdagrad(tables)])


def test_equals_its_separate_parts() -> None:
    net, separate = Net(), Net()
    combined = make(net)
    for group in combined.param_groups:
        group["weight_decay"] = 0.0
    train(net, [combined], 10)
    rest = [*separate.hidden.parameters(), *separate.head.parameters()]
    parts = [AdamW(rest, weight_decay=0.0, fused=True), RowwiseAdagrad(separate.table.parameters())]
    train(separate, parts, 10)
    for a, b in zip(net.parameters(), separate.parameters()):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ALL)
def test_every_optimizer_resumes_to_the_bit_beside_tables(name: str) -> None:
    whole = Net()
    optimizer = make(whole, name)
    train(whole, [optimizer], 3)
    stopped, state = copy.deepcopy(whole), copy.deepcopy(optimizer.state_dict())
    assert [group["params"] for group in state["param_groups"]][-1] == [4]  # after 2 weights and 2 biases
    assert set(state["state"][4]) == {"sum"}
    train(whole, [optimizer], 5, seed=1)
    resumed = make(stopped, name)
    resumed.load_state_dict(state)
    train(stopped, [resumed], 5, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), stopped.parameters()))


def test_groups_that_a_schedule_changes_are_the_parts_own() -> None:
    net = Net()
    optimizer = make(net)
    schedule = optim.cosine(optimizer, 4, warmup_fraction=0.0)
    train(net, [optimizer], 1)
    optimizer.load_state_dict(optimizer.state_dict())
    for _ in range(3):
        schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.0] * 3
    before = copy.deepcopy(net)
    train(net, [optimizer], 1)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), before.parameters()))


def test_a_copy_is_whole() -> None:
    net = Net()
    optimizer = make(net)
    train(net, [optimizer], 2)
    net_copy, optimizer_copy = copy.deepcopy((net, optimizer))
    train(net, [optimizer], 3)
    train(net_copy, [optimizer_copy], 3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), net_copy.parameters()))


class Moded(SGD):
    mode = "train"

    def train(self) -> None:
        self.mode = "train"

    def eval(self) -> None:
        self.mode = "eval"


def test_modes_and_nesting() -> None:
    a, b, c = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    inner = Combined([Moded([a], lr=1.0), SGD([b], lr=2.0)])
    outer: Any = Combined([inner, SGD([c], lr=3.0)])
    outer.eval()
    assert [getattr(part, "mode", None) for part in outer.parts] == ["eval", None, None]
    outer.train()
    assert outer.parts[0].mode == "train"
    assert [group["lr"] for group in outer.param_groups] == [1.0, 2.0, 3.0]


def test_other_groups_are_refused() -> None:
    state = make(Net()).state_dict()
    net = Net()
    with pytest.raises(ValueError, match="expected 1 parameter groups, got 3"):
        Combined([SGD(net.parameters(), lr=1.0)]).load_state_dict(state)
