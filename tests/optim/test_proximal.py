"""Tests the L1 proximal step: exact zeros, and the lasso's solution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import nn

from lit_mlfund.optim import soft_threshold_


def test_moves_towards_zero_and_stops_there() -> None:
    weight = nn.Parameter(torch.tensor([0.3, -0.3, 0.1, -0.1, 0.05, 0.0]))
    soft_threshold_([weight], 0.1)
    torch.testing.assert_close(weight.detach(), torch.tensor([0.2, -0.2, 0.0, 0.0, 0.0, 0.0]))
    assert (weight == 0).sum() == 4
    soft_threshold_([weight], 0.0)
    assert (weight == 0).sum() == 4


def test_a_diverged_weight_stays_visible() -> None:
    weight = torch.tensor([torch.nan, torch.inf])
    soft_threshold_([weight], 0.1)
    assert weight[0].isnan() and weight[1].isinf()


def test_proximal_gradient_descent_finds_the_lasso() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 8))
    y = x @ np.array([2.0, -1.0, 0.5, 0, 0, 0, 0, 0]) + generator.normal(size=200)
    strength, lr = 0.3, 0.05
    weight = nn.Parameter(torch.zeros(8, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=lr)
    features, target = torch.tensor(x), torch.tensor(y)
    for _ in range(1000):
        loss = 0.5 * (features @ weight - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        soft_threshold_([weight], lr * strength)
    reference = Lasso(alpha=strength, fit_intercept=False, tol=1e-12).fit(x, y).coef_
    np.testing.assert_allclose(weight.detach().numpy(), reference, atol=1e-8)
    assert ((weight == 0).numpy() == (reference == 0)).all() and (reference == 0).any()


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
def test_refuses_a_negative_threshold(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold must not be negative"):
        soft_threshold_([torch.zeros(1)], threshold)
