"""Tests what each model of single examples computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.models import CNN, DLRM, MLP, Linear, ResNet, Transformer
from lit_mlfund.models.heads import Head
from lit_mlfund.models.transformer import sinusoids
from tests.models.specs import FIELDS, make_inputs, make_spec


def test_linear_is_linear_in_numbers_codes_and_tokens() -> None:
    spec = make_spec("multiclass", *FIELDS)
    model = Linear(spec)
    x = make_inputs(spec.inputs, 5)
    assert torch.equal(model(x), torch.zeros(5, 4))
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    expected = model.bias + x["numeric"] @ model.terms["numeric"].weight.T
    expected = expected + x["image"].flatten(1) @ model.terms["image"].weight.T
    table = model.terms["categorical"].table.weight
    expected = expected + table[x["categorical"][:, 0]] + table[5 + x["categorical"][:, 1]]
    for row, ids in enumerate(x["tokens"].tolist()):
        real = [token for token in ids if token]
        if real:
            expected[row] += model.terms["tokens"].table.weight[real].sum(0) / len(real) ** 0.5
    torch.testing.assert_close(model(x), expected)


def test_mlp_without_hidden_layers_is_a_head_on_the_inputs() -> None:
    model = MLP(make_spec("regression", "numeric"), hidden=())
    x = {"numeric": torch.randn(5, 3)}
    torch.testing.assert_close(model(x), x["numeric"] @ model.head.weight[0] + model.head.bias[0])


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
def test_mlp_layers(activation: str) -> None:
    model = MLP(make_spec("binary", "numeric"), hidden=(8, 4), activation=activation, norm="layer")
    kinds = [type(layer).__name__ for layer in model.body]
    name = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "tanh": "Tanh"}[activation]
    assert kinds == ["Linear", "LayerNorm", name, "Dropout"] * 2


def test_mlp_learns_an_interaction_that_a_linear_model_cannot() -> None:
    torch.manual_seed(0)
    x = {"numeric": torch.randn(512, 3)}
    y = (x["numeric"][:, 0] * x["numeric"][:, 1] > 0).float()
    losses = {}
    for model in (Linear(make_spec("binary", "numeric")), MLP(make_spec("binary", "numeric"), dropout=0.0)):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(60):
            loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[type(model).__name__] = loss.item()
    assert losses["MLP"] < 0.15 and losses["Linear"] > 0.6


def test_head_of_two_classes_keeps_both() -> None:
    spec = DataSpec("multiclass", {"numeric": FIELDS["numeric"]}, classes=("a", "b"))
    assert Head(3, spec)(torch.randn(5, 3)).shape == (5, 2)
    assert Head(3, make_spec("binary", "numeric"))(torch.randn(1, 3)).shape == (1,)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (28, 28), (33, 64)])
@pytest.mark.parametrize("cls", [CNN, ResNet])
def test_image_models_take_any_size(cls: type[nn.Module], size: tuple[int, int]) -> None:
    spec = DataSpec("multiclass", {"picture": Field("image", (3, *size))}, classes=("a", "b", "c"))
    model = cls(spec).eval()
    assert model({"picture": torch.randn(2, 3, *size)}).shape == (2, 3)


def test_a_fresh_residual_block_is_its_shortcut() -> None:
    model = ResNet(make_spec("binary", "image"), blocks=(2,), width=4)
    block = model.body[3]
    x = torch.rand(2, 4, 8, 8)
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_transformer_does_not_see_padding(pooling: str, positions: str) -> None:
    model = Transformer(
        make_spec("multiclass", "tokens"), dim=16, num_heads=2, positions=positions, pooling=pooling
    ).eval()
    short = torch.tensor([[3, 5, 2], [4, 0, 0]])
    padded = nn.functional.pad(short, (0, 3))
    torch.testing.assert_close(model({"tokens": padded}), model({"tokens": short}))
    swapped = model({"tokens": short[:, [1, 0, 2]]})[0]
    assert torch.allclose(swapped, model({"tokens": short})[0], atol=1e-6) == (positions == "none")


def test_transformer_is_finite_on_an_empty_text() -> None:
    for pooling in ("mean", "cls"):
        model = Transformer(make_spec("binary", "tokens"), dim=16, num_heads=2, pooling=pooling)
        output = model({"tokens": torch.zeros(2, 6, dtype=torch.int64)})
        output.sum().backward()
        assert output.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_sinusoids_are_the_papers() -> None:
    table = sinusoids(50, 8) / (0.02 * 2**0.5)
    for position in (0, 1, 49):
        for pair in range(4):
            angle = torch.tensor(position / 10_000 ** (2 * pair / 8))
            assert table[position, pair].item() == pytest.approx(angle.sin().item(), abs=1e-5)
            assert table[position, 4 + pair].item() == pytest.approx(angle.cos().item(), abs=1e-5)


def test_dlrm_reads_the_dense_vector_and_every_product_once() -> None:
    spec = make_spec("binary", "numeric", "categorical", "tokens")
    model = DLRM(spec, embedding_dim=4, bottom=(8,), top=()).eval()
    x = make_inputs(spec.inputs, 5)
    dense = model.bottom(x["numeric"])
    codes = model.encoders["categorical"](x["categorical"])
    vectors = [dense, codes[:, 0], codes[:, 1], model.encoders["tokens"](x["tokens"])]
    products = [(vectors[i] * vectors[j]).sum(1) for i in range(4) for j in range(i)]
    expected = model.head(torch.cat([dense, torch.stack(products, 1)], dim=1))
    torch.testing.assert_close(model(x), expected)


def test_dlrm_without_numbers_learns_a_constant() -> None:
    spec = DataSpec("regression", {"only": Field("categorical", (1,), cardinalities=(3,))})
    model = DLRM(spec, embedding_dim=4, top=(16,), dropout=0.0)
    x, y = {"only": torch.tensor([[0], [1], [2]])}, torch.tensor([0.0, 1.0, -1.0])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)
    for _ in range(200):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1e-2
