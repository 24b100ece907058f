"""Tests embeddings of numbers against plain loops, and on a task that needs them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.models import MLP, ListAttention, ListMLP, TabM
from lit_mlfund.models.inputs import InputEncoder
from lit_mlfund.models.numeric import PeriodicEmbedding, PiecewiseLinearEmbedding
from tests.models.specs import FIELDS, make_inputs, make_spec


@pytest.mark.parametrize("relu", [True, False])
def test_periodic_embedding_is_its_formula(relu: bool) -> None:
    torch.manual_seed(0)
    embedding = PeriodicEmbedding(2, 4, num_frequencies=3, relu=relu)
    torch.nn.init.normal_(embedding.bias)
    x = torch.randn(5, 2)
    vectors = embedding(x)
    assert vectors.shape == (5, 2, 4)
    for row in range(5):
        for column in range(2):
            value = x[row, column].item()
            angles = [2 * math.pi * c * value for c in embedding.frequency[column].tolist()]
            waves = torch.tensor([*map(math.cos, angles), *map(math.sin, angles)])
            expected = waves @ embedding.weight[column] + embedding.bias[column]
            expected = expected.relu() if relu else expected
            assert vectors[row, column, 0] == value
            torch.testing.assert_close(vectors[row, column, 1:], expected, atol=1e-5, rtol=1e-4)


def test_piecewise_linear_embedding_is_its_formula() -> None:
    """Fit three columns: a skewed one, one with fewer values than bins, and one with a single value."""
    torch.manual_seed(0)
    rows = torch.stack(
        [torch.randn(500).exp(), torch.randint(0, 3, (500,)).float(), torch.full((500,), 2.0)], 1
    )
    embedding = PiecewiseLinearEmbedding(3, 4, num_bins=8)
    torch.nn.init.normal_(embedding.bias)
    assert not embedding.fitted
    embedding.fit(rows)
    assert embedding.fitted
    x = torch.cat([rows[:20], torch.tensor([[-100.0, -1.0, 0.0], [100.0, 5.0, 3.0], [1.0, 0.5, 2.0]])])
    vectors = embedding(x)
    assert vectors.shape == (23, 3, 4)
    for column in range(3):
        edges = np.unique(np.quantile(rows[:, column].numpy(), np.linspace(0, 1, 9)).astype(np.float32))
        assert len(edges) == (9, 3, 1)[column]
        for row in range(23):
            value = x[row, column].item()
            place = torch.zeros(8)
            for i, (low, high) in enumerate(pairwise(edges)):
                place[i] = min(max((value - float(low)) / float(high - low), 0.0), 1.0)
            expected = place @ embedding.weight[column] + embedding.bias[column]
            assert vectors[row, column, 0] == value
            torch.testing.assert_close(vectors[row, column, 1:], expected, atol=1e-5, rtol=1e-4)


def test_bins_that_were_not_fitted_suit_standardised_numbers() -> None:
    embedding = PiecewiseLinearEmbedding(2, num_bins=10)
    share = torch.randn(20000)[:, None].lt(embedding.edges[0]).float().mean(0)
    np.testing.assert_allclose(share, (np.arange(11) + 0.5) / 11, atol=0.02)


def test_scale_is_the_deviation_of_the_frequencies() -> None:
    torch.manual_seed(0)
    frequency = PeriodicEmbedding(100, num_frequencies=100, scale=0.3).frequency
    assert frequency.std().item() == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("leading", [(5,), (2, 3)])
def test_only_numeric_inputs_are_embedded(leading: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    encoder = InputEncoder(FIELDS, embedding_dim=4, token_dim=8, numeric_embedding="periodic")
    x = make_inputs(FIELDS, *leading)
    vector = encoder(x)
    assert vector.shape == (*leading, encoder.dim) and encoder.dim == 3 * 9 + 2 * 4 + 8 + 2 * 8 * 8
    embedded = encoder.encoders["numeric"](x["numeric"])
    assert torch.equal(vector[..., :27], embedded.flatten(-2))
    assert torch.equal(vector[..., -128:], x["image"].flatten(-3))


@pytest.mark.parametrize("model", [MLP, TabM, ListMLP, ListAttention])
def test_models_take_it(model: type) -> None:
    spec = make_spec("ranking", "numeric", "categorical")
    x = make_inputs(spec.inputs, 2, 3)
    plain = sum(p.numel() for p in model(spec, numeric_embedding="none").parameters())
    for kind in ("periodic", "periodic_linear", "piecewise_linear"):
        embedded = model(spec, numeric_embedding=kind, frequency_scale=0.2)
        scores = embedded(x)
        assert scores.shape == (2, 3) and scores.isfinite().all()
        assert sum(p.numel() for p in embedded.parameters()) > plain


def test_a_comb_is_learned_that_an_mlp_does_not_see() -> None:
    """Fit a label that flips nine times along one number, which a tree does with nine thresholds."""
    x = torch.linspace(-2, 2, 2000)[:, None]
    target = ((x[:, 0] * 2.5).floor() % 2).float()
    spec = DataSpec("binary", {"numeric": Field("numeric", (1,))}, classes=("no", "yes"))
    accuracy = {}
    for kind in ("none", "periodic", "periodic_linear", "piecewise_linear"):
        torch.manual_seed(0)
        model = MLP(spec, hidden=(32,), dropout=0.0, numeric_embedding=kind)
        model.encoder.fit({"numeric": x})
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(150):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model({"numeric": x}), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracy[kind] = ((model({"numeric": x}) > 0) == (target > 0.5)).float().mean().item()
    assert accuracy.pop("none") < 0.85
    assert min(accuracy.values()) > 0.97, accuracy


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match=r"numeric_embedding must be none, periodic, .* got 'fourier'"):
        MLP(make_spec("binary", "numeric"), numeric_embedding="fourier")
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"scale must be a positive number, got {scale}"):
            PeriodicEmbedding(1, scale=scale)
    for bad in ({"columns": 0}, {"columns": 1, "dim": 1}, {"columns": 1, "num_frequencies": 0}):
        with pytest.raises(
            ValueError, match="columns and num_frequencies must be at least 1, dim at least 2"
        ):
            PeriodicEmbedding(**bad)
    for bad in ({"columns": 0}, {"columns": 1, "dim": 1}, {"columns": 1, "num_bins": 0}):
        with pytest.raises(ValueError, match="columns and num_bins must be at least 1, dim at least 2"):
            PiecewiseLinearEmbedding(**bad)
