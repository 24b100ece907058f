"""Tests which parameters decay, and which have a learning rate of their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lit_mlfund.optim import parameter_groups


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.bag = nn.EmbeddingBag(5, 4)
        self.conv = nn.Conv2d(1, 2, 3)
        self.batch_norm = nn.BatchNorm2d(2)
        self.linear = nn.Linear(4, 4)
        self.layer_norm = nn.LayerNorm((2, 4))  # two-dimensional gains
        self.vector = nn.Parameter(torch.zeros(4))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.tied = nn.Linear(4, 5, bias=False)
        self.tied.weight = self.embedding.weight


def names(group: dict[str, Any]) -> set[str]:
    return {name for name, _ in group["params"]}


def test_only_weights_of_layers_decay() -> None:
    groups = {group["name"]: group for group in parameter_groups(Net(), 0.1)}
    assert names(groups["decay"]) == {"conv.weight", "linear.weight"}
    assert names(groups["no_decay"]) == {
        "embedding.weight",
        "bag.weight",
        "conv.bias",
        "batch_norm.weight",
        "batch_norm.bias",
        "linear.bias",
        "layer_norm.weight",
        "layer_norm.bias",
        "vector",
    }
    assert {name: group["weight_decay"] for name, group in groups.items()} == {"decay": 0.1, "no_decay": 0.0}
    assert all("lr" not in group for group in groups.values())


def test_rates_by_pattern() -> None:
    groups = parameter_groups(Net(), 0.1, lr=0.2, lr_by_pattern={"linear.weight": 0.5, "*.weight": 0.1})
    rates = {name: group["lr"] for group in groups for name in names(group)}
    assert rates["linear.weight"] == pytest.approx(0.1)  # the first pattern that matches
    assert rates["conv.weight"] == pytest.approx(0.02)
    assert rates["linear.bias"] == 0.2
    assert {group["name"] for group in groups} == {"decay x0.5", "decay x0.1", "no_decay x0.1", "no_decay"}
    optimizer = torch.optim.AdamW(groups, lr=0.2)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 11


def test_a_model_without_matrices_has_one_group() -> None:
    assert [group["name"] for group in parameter_groups(nn.LayerNorm(4), 0.1)] == ["no_decay"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"weight_decay": -0.1}, "weight_decay must not be negative, got -0.1"),
        ({"lr_by_pattern": {"*": 0.1}}, "lr_by_pattern multiplies lr, which is missing"),
        ({"lr": 0.1, "lr_by_pattern": {"emb": 0.1, "*": 1.0}}, "no trainable parameter matches emb"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parameter_groups(Net(), **options)


def test_a_pattern_without_a_match_is_told_the_similar_names() -> None:
    with pytest.raises(ValueError, match=r"linaer") as error:
        parameter_groups(Net(), lr=0.1, lr_by_pattern={"linaer.*": 0.1})
    assert "(there are linear.bias, linear.weight)" in str(error.value)
    with pytest.raises(ValueError, match=r"zzz") as error:  # nothing is similar: the first names
        parameter_groups(Net(), lr=0.1, lr_by_pattern={"zzz": 0.1})
    assert "(there are vector, embedding.weight, bag.weight, conv.bias, …)" in str(error.value)
