"""Clipping as torch's for dense gradients, and as of the dense twin for sparse ones."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lit_mlfund.modules.clipping import clip_norm, clip_value

IDS = torch.tensor([1, 4, 1, 1])  # a row three times


def make(sparse: bool) -> list[nn.Parameter]:
    torch.manual_seed(0)
    table, layer = nn.Embedding(6, 3, sparse=sparse), nn.Linear(3, 2)
    unused = nn.Parameter(torch.zeros(2))
    layer(table(IDS)).pow(2).sum().backward()
    return [table.weight, *layer.parameters(), unused]


def gradients(parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    return [p.grad.to_dense() if p.grad.is_sparse else p.grad for p in parameters if p.grad is not None]


@pytest.mark.parametrize("limit", [1e-3, 1.0, 1e3, float("inf")])
def test_dense_gradients_as_torch_does_to_the_bit(limit: float) -> None:
    ours = make(False)
    torchs = copy.deepcopy(ours)
    for parameter, twin in zip(ours, torchs):
        twin.grad = None if parameter.grad is None else parameter.grad.clone()
    norm, expected = clip_norm(ours, limit), nn.utils.clip_grad_norm_(torchs, limit)
    assert norm is not None and torch.equal(norm, expected)
    assert all(torch.equal(a, b) for a, b in zip(gradients(ours), gradients(torchs)))


@pytest.mark.parametrize("limit", [1e-3, 1.0, 1e3, float("inf")])
def test_sparse_gradients_as_their_dense_twins(limit: float) -> None:
    sparse, dense = make(True), make(False)
    norm, expected = clip_norm(sparse, limit), nn.utils.clip_grad_norm_(dense, limit)
    torch.testing.assert_close(norm, expected)
    assert sparse[0].grad is not None and sparse[0].grad.is_sparse
    torch.testing.assert_close(gradients(sparse), gradients(dense))


def test_entries() -> None:
    sparse, dense = make(True), make(False)
    clip_value(sparse, 0.1)
    nn.utils.clip_grad_value_(dense, 0.1)
    torch.testing.assert_close(gradients(sparse), gradients(dense))
    assert gradients(sparse)[0].abs().max() == pytest.approx(0.1)


def test_nothing_to_clip() -> None:
    assert clip_norm([nn.Parameter(torch.zeros(2))], 1.0) is None
