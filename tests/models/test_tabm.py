"""Tests TabM against its formula in plain loops of numpy, and what its members share and do not share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lit_mlfund.data.serving.spec import Task
from lit_mlfund.models import TabM
from lit_mlfund.models.tabm import ByteDropout, combine
from lit_mlfund.optim import parameter_groups
from tests.models.specs import make_inputs, make_spec

KINDS = ("numeric", "categorical", "tokens")


def make(task: Task, *kinds: str, seed: int = 0, **options: Any) -> TabM:
    torch.manual_seed(seed)
    return TabM(make_spec(task, *kinds or KINDS), **{"num_members": 3, "hidden": (6, 5), **options})


def randomise(model: torch.nn.Module) -> None:
    """Give every parameter other values, among them the scalings that start at 1 and the biases at 0."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)


def expected_outputs(model: TabM, encoded: np.ndarray) -> np.ndarray:
    """Compute each member's outputs `[k, N, K]` from its own weights, one row at a time."""
    weights = {name: value.detach().double().numpy() for name, value in model.named_parameters()}
    layers = ["first", *(f"layers.{number}" for number in range(len(model.layers)))]
    outputs = []
    for member in range(model.num_members):
        rows = []
        for e in encoded:
            h = e
            for layer in layers:
                own = {
                    part: value[member] if len(value) > 1 else value[0]
                    for part in ("input_scale", "output_scale", "bias")
                    if (value := weights.get(f"{layer}.{part}")) is not None and value.ndim == 2
                }
                bias = own.get("bias", weights[f"{layer}.bias"])
                product = weights[f"{layer}.weight"] @ (own.get("input_scale", 1.0) * h)
                h = np.maximum(own.get("output_scale", 1.0) * product + bias, 0.0)
            rows.append(h @ weights["heads.weight"][member] + weights["heads.bias"][member])
        outputs.append(rows)
    return np.array(outputs)


@pytest.mark.parametrize("mini", [True, False])
@pytest.mark.parametrize("task", TabM.tasks)
def test_outputs_are_the_formula(task: Task, mini: bool) -> None:
    model = make(task, mini=mini).eval()
    randomise(model)
    leading = (4, 3) if task == "ranking" else (4,)
    x = make_inputs(make_spec(task, *KINDS).inputs, *leading)
    encoded = model.encoder(x).detach().double().numpy()
    each = expected_outputs(model, encoded.reshape(-1, encoded.shape[-1]))
    each = each.reshape(3, *leading, -1)
    each = each if task == "multiclass" else each[..., 0]
    np.testing.assert_allclose(model(x, members=True).detach().numpy(), each, rtol=1e-4, atol=1e-4)
    if task == "binary":
        mean = (1 / (1 + np.exp(-each))).mean(0)
        expected = np.log(mean / (1 - mean))
    elif task == "multiclass":
        expected = np.log((np.exp(each) / np.exp(each).sum(-1, keepdims=True)).mean(0))
    else:
        expected = each.mean(0)
    np.testing.assert_allclose(model(x).detach().numpy(), expected, rtol=1e-3, atol=1e-4)


def test_mean_probabilities_survive_logits_of_any_size() -> None:
    binary = torch.tensor([[300.0, -300.0, 300.0], [300.0, -300.0, -300.0]])
    torch.testing.assert_close(combine(binary, "binary"), torch.tensor([300.0, -300.0, 0.0]))
    classes = torch.tensor([[[300.0, 0.0]], [[0.0, 300.0]]])
    torch.testing.assert_close(combine(classes, "multiclass").exp(), torch.full((1, 2), 0.5))


def test_mini_members_share_all_but_the_scaling_of_inputs_and_heads() -> None:
    shapes = {name: tuple(value.shape) for name, value in make("binary").named_parameters()}
    own = {name for name, shape in shapes.items() if shape[0] == 3 and "encoder" not in name}
    assert own == {"first.input_scale", "heads.weight", "heads.bias"}
    more = {name for name, value in make("binary", mini=False).named_parameters() if value.shape[0] == 3}
    more = {name for name in more if "encoder" not in name}
    scales = {
        f"{layer}.{part}" for layer in ("first", "layers.0") for part in ("input_scale", "output_scale")
    }
    assert more == own | scales | {"first.bias", "layers.0.bias"}


@pytest.mark.parametrize("mini", [True, False])
def test_scalings_start_as_one_number_a_column(mini: bool) -> None:
    model = make("binary", mini=mini, num_members=200, embedding_dim=4)
    by_column = model.first.input_scale.split(model.encoder.widths, dim=1)
    assert [len(part.T) for part in by_column] == [9, 9, 9, 4, 4, 64]
    assert all(bool((part == part[:, :1]).all()) for part in by_column)
    first = torch.stack([part[:, 0] for part in by_column])
    assert abs(first.mean()) < 0.1 and abs(first.std() - 1) < 0.1
    others = [
        value for name, value in model.named_parameters() if "scale" in name and name != "first.input_scale"
    ]
    assert len(others) == (0 if mini else 3) and all(bool((value == 1).all()) for value in others)


def test_scalings_and_biases_do_not_decay() -> None:
    model = make("binary", "tokens", mini=False)
    groups = {part["name"]: {name for name, _ in part["params"]} for part in parameter_groups(model, 0.1)}
    assert groups["decay"] == {"first.weight", "layers.0.weight", "heads.weight"}


def test_dropout_keeps_its_share_and_the_mean() -> None:
    torch.manual_seed(0)
    dropout = ByteDropout(0.25)
    dropped = dropout(torch.ones(100, 8, 127))  # no multiple of the 8 bytes of a draw
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.005)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.005)
    by_byte = (dropped.flatten()[: 8 * 12700].view(-1, 8) == 0).float().mean(0)
    assert by_byte.min() > 0.23 and by_byte.max() < 0.27
    assert torch.equal(dropout.eval()(dropped), dropped)
    assert not torch.equal(dropout.train()(torch.ones(1000)), dropout(torch.ones(1000)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_members": 0}, "num_members must be at least 1, got 0"),
        ({"hidden": ()}, "hidden must have at least one layer"),
        ({"hidden": (4, 0)}, "hidden must be positive layer widths"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"activation": "swish"}, "activation must be one of"),
        ({"numeric_embedding": "fourier"}, "numeric_embedding must be none, .* got 'fourier'"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("binary", **options)
