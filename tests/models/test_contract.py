"""Tests the contract of every model: shapes, gradients, seeds, checkpoints, compilation and clear errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lit_mlfund import models
from lit_mlfund.data.serving.spec import DataSpec
from tests.models.specs import FIELDS, make_inputs, make_spec

TABLE = ("numeric", "categorical")
SHAPES = {"binary": (5,), "regression": (5,), "multiclass": (5, 4), "ranking": (5, 3), "retrieval": (5, 16)}
SMALL: dict[str, Callable[[DataSpec], nn.Module]] = {
    "Linear": models.Linear,
    "MLP": lambda spec: models.MLP(spec, hidden=(8, 4)),
    "TabM": lambda spec: models.TabM(spec, num_members=2, hidden=(8, 4)),
    "CNN": lambda spec: models.CNN(spec, channels=(4, 8)),
    "ResNet": lambda spec: models.ResNet(spec, blocks=(1, 2), width=4),
    "Transformer": lambda spec: models.Transformer(spec, dim=16, num_heads=2),
    "ListMLP": lambda spec: models.ListMLP(spec, hidden=(8, 4)),
    "ListAttention": lambda spec: models.ListAttention(spec, dim=16),
    "TwoTower": lambda spec: models.TwoTower(spec, dim=16, hidden=(8,)),
    "DLRM": lambda spec: models.DLRM(spec, embedding_dim=4, bottom=(8,), top=(8,)),
    "Decoder": lambda spec: models.Decoder(spec, dim=16, depth=2, num_heads=2),
}
SINGLE = {"CNN": "image", "ResNet": "image", "Transformer": "tokens", "Decoder": "sequence"}


def cases() -> list[Any]:
    """List (model, spec) for every task of every model, with all kinds of inputs that it reads."""
    params = []
    for name in SMALL:
        cls = getattr(models, name)
        for task in cls.tasks:
            kinds = (
                (SINGLE[name],) if name in SINGLE else tuple(kind for kind in FIELDS if kind in cls.inputs)
            )
            items = kinds if task == "retrieval" else ()
            params.append(pytest.param(name, make_spec(task, *kinds, items=items), id=f"{name}-{task}"))
    return params


CASES = cases()


def arguments(spec: DataSpec, seed: int = 0) -> tuple[Any, ...]:
    if spec.task == "retrieval":
        return make_inputs(spec.inputs, 5, seed=seed), make_inputs(spec.items, 5, seed=seed + 1)
    if spec.task == "ranking":
        mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
        return make_inputs(spec.inputs, 5, 3, seed=seed), mask
    return (make_inputs(spec.inputs, 5, seed=seed),)


def build(name: str, spec: DataSpec, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return SMALL[name](spec)


def flat(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output if isinstance(output, Tensor) else torch.cat(output)


@pytest.mark.parametrize("name, spec", CASES)
def test_output_has_the_shape_of_the_task(name: str, spec: DataSpec) -> None:
    output = build(name, spec)(*arguments(spec))
    for part in output if isinstance(output, tuple) else (output,):
        assert part.shape == ((5, 6, 4) if name == "Decoder" else SHAPES[spec.task])
        assert part.isfinite().all()


@pytest.mark.parametrize("name, spec", CASES)
def test_every_parameter_gets_a_gradient(name: str, spec: DataSpec) -> None:
    model = build(name, spec)
    for parameter in model.parameters():  # parameters that are initialised with zeros would block gradients
        nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else nn.init.constant_(parameter, 0.5)
    output = flat(model(*arguments(spec)))
    (output * torch.randn(output.shape)).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name, spec", CASES)
def test_the_seed_decides_the_weights_and_a_state_dict_carries_them(name: str, spec: DataSpec) -> None:
    first, again, other = build(name, spec, 0), build(name, spec, 0), build(name, spec, 1)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values()))
    other.load_state_dict(first.state_dict())
    inputs = arguments(spec)
    assert torch.equal(flat(first.eval()(*inputs)), flat(other.eval()(*inputs)))


@pytest.mark.parametrize("name, spec", CASES)
def test_first_predictions_are_nearly_uninformed(name: str, spec: DataSpec) -> None:
    if spec.task != "retrieval":
        assert flat(build(name, spec).eval()(*arguments(spec))).abs().max() < 1.5


@pytest.mark.parametrize("name, spec", CASES)
def test_runs_in_bfloat16_autocast(name: str, spec: DataSpec) -> None:
    model = build(name, spec)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = flat(model(*arguments(spec)))
    assert output.isfinite().all()
    output.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name, spec", [case for case in CASES if "binary" in case.id or "rank" in case.id])
def test_exports_as_one_graph(name: str, spec: DataSpec) -> None:
    """Test with torch.export, which rejects data-dependent Python; other batch sizes must run."""
    model, inputs = build(name, spec).eval(), arguments(spec)
    batch = torch.export.Dim("batch", min=2)
    shapes: list[Any] = [
        {key: {0: batch} for key in part} if isinstance(part, dict) else {0: batch} for part in inputs
    ]
    program = torch.export.export(model, inputs, dynamic_shapes=tuple(shapes), strict=False)
    larger = torch.utils._pytree.tree_map(lambda value: torch.cat([value, value[:2]]), inputs)
    torch.testing.assert_close(program.module()(*larger), model(*larger))


@pytest.mark.parametrize("name, spec", [case for case in CASES if "binary" not in case.id])
def test_compiles_without_a_break(name: str, spec: DataSpec) -> None:
    torch._dynamo.reset()
    model, inputs = build(name, spec), arguments(spec)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.manual_seed(0)
    expected = flat(model(*inputs))
    torch.manual_seed(0)
    torch.testing.assert_close(flat(compiled(*inputs)), expected)


@pytest.mark.parametrize("name, spec", CASES)
def test_refuses_a_task_that_is_not_its_own(name: str, spec: DataSpec) -> None:
    wrong = make_spec("retrieval" if spec.task != "retrieval" else "binary", *spec.inputs)
    with pytest.raises(ValueError, match=f"{name} does not support task '{wrong.task}', only "):
        SMALL[name](wrong)


def test_refuses_inputs_that_it_cannot_read() -> None:
    with pytest.raises(ValueError, match="CNN cannot read the categorical input 'categorical', only image"):
        models.CNN(make_spec("binary", "image", "categorical"))
    with pytest.raises(ValueError, match="DLRM cannot read the image input"):
        models.DLRM(make_spec("binary", "image", "categorical"))
    with pytest.raises(ValueError, match="MLP got data without inputs"):
        models.MLP(DataSpec("binary", {}))
    two = DataSpec("binary", {"title": FIELDS["tokens"], "body": FIELDS["tokens"]})
    with pytest.raises(ValueError, match=r"exactly one tokens input; the data has title \(tokens\), body"):
        models.Transformer(two)
    with pytest.raises(ValueError, match="DLRM needs categorical columns or tokens"):
        models.DLRM(make_spec("binary", "numeric"))
    with pytest.raises(ValueError, match="the data has no item inputs"):
        models.TwoTower(make_spec("retrieval", "tokens"))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: models.MLP(make_spec("binary", *TABLE), hidden=(8, 0)), r"hidden must be .*\[8, 0\]"),
        (
            lambda: models.MLP(make_spec("binary", *TABLE), dropout=1.0),
            r"dropout must be in \[0, 1\), got 1.0",
        ),
        (lambda: models.MLP(make_spec("binary", *TABLE), code_dropout=-0.1), "code_dropout must be"),
        (lambda: models.MLP(make_spec("binary", *TABLE), activation="swish"), "activation must be one of"),
        (lambda: models.MLP(make_spec("binary", *TABLE), norm="group"), "norm must be none or layer"),
        (
            lambda: models.MLP(make_spec("binary", *TABLE), embedding_dim=0),
            "embedding_dim must be at least 1",
        ),
        (lambda: models.MLP(make_spec("binary", "tokens"), token_dim=0), "token_dim must be at least 1"),
        (lambda: models.CNN(make_spec("binary", "image"), channels=()), "channels must be"),
        (lambda: models.CNN(make_spec("binary", "image"), dropout=2.0), "dropout must be"),
        (lambda: models.ResNet(make_spec("binary", "image"), blocks=(1, 0)), "blocks and width must be"),
        (lambda: models.ResNet(make_spec("binary", "image"), dropout=-1.0), "dropout must be"),
        (
            lambda: models.Transformer(make_spec("binary", "tokens"), dim=10, num_heads=4),
            "multiple of num_heads",
        ),
        (lambda: models.Transformer(make_spec("binary", "tokens"), depth=0), "depth must be at least 1"),
        (lambda: models.Transformer(make_spec("binary", "tokens"), positions="rope"), "positions must be"),
        (lambda: models.Transformer(make_spec("binary", "tokens"), pooling="max"), "pooling must be"),
        (
            lambda: models.Transformer(
                make_spec("binary", "tokens"), dim=9, num_heads=3, positions="sinusoidal"
            ),
            "even dim, got 9",
        ),
        (lambda: models.DLRM(make_spec("binary", *TABLE), embedding_dim=0), "embedding_dim must be"),
        (lambda: models.TwoTower(make_spec("retrieval", "tokens", items=("tokens",)), dim=0), "dim must be"),
        (
            lambda: models.TwoTower(make_spec("retrieval", *TABLE, items=TABLE), dropout=1.0),
            "dropout must be",
        ),
    ],
)
def test_refuses_impossible_options(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_names_of_the_batch_are_ignored() -> None:
    spec = make_spec("binary", "numeric")
    model = models.MLP(spec)
    x = make_inputs(spec.inputs, 5)
    assert torch.equal(model.eval()(x), model({**x, "row": torch.arange(5)}))
