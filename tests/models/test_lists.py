"""Tests models of lists: order, padding and empty queries do not matter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lit_mlfund.data.serving.spec import DataSpec
from lit_mlfund.models import MLP, Linear, ListAttention, ListMLP
from lit_mlfund.models.attention import SelfAttention, masked_mean
from tests.models.specs import make_inputs, make_spec

SPEC = make_spec("ranking", "numeric", "categorical", "tokens")
MODELS: dict[str, Callable[[DataSpec], nn.Module]] = {
    "linear": Linear,
    "mlp": MLP,
    "list_mlp": ListMLP,
    "list_mlp alone": lambda spec: ListMLP(spec, relative=False),
    "list_attention": lambda spec: ListAttention(spec, dim=16),
}
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = MODELS[name](SPEC)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_shuffled_documents_get_the_same_scores(name: str) -> None:
    model, x = build(name), make_inputs(SPEC.inputs, 3, 4)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = {key: value[:, order] for key, value in x.items()}
    torch.testing.assert_close(model(shuffled, mask=MASK[:, order]), model(x, mask=MASK)[:, order])


@pytest.mark.parametrize("name", MODELS)
def test_padding_does_not_matter(name: str) -> None:
    model, x = build(name), make_inputs(SPEC.inputs, 3, 4)
    scores = model(x, mask=MASK)
    junk = make_inputs(SPEC.inputs, 3, 4, seed=1)
    other = {
        key: torch.where(MASK.view(3, 4, *[1] * (value.ndim - 2)), value, junk[key])
        for key, value in x.items()
    }
    torch.testing.assert_close(model(other, mask=MASK)[MASK], scores[MASK])
    longer = {key: torch.cat([value, junk[key]], dim=1) for key, value in x.items()}
    mask = nn.functional.pad(MASK, (0, 4))
    torch.testing.assert_close(model(longer, mask=mask)[:, :4][MASK], scores[MASK])


@pytest.mark.parametrize("name", MODELS)
def test_without_a_mask_every_document_is_real(name: str) -> None:
    model, x = build(name), make_inputs(SPEC.inputs, 3, 4)
    torch.testing.assert_close(model(x), model(x, mask=torch.ones(3, 4, dtype=torch.bool)))


@pytest.mark.parametrize("name", MODELS)
def test_an_empty_query_is_finite_and_alone(name: str) -> None:
    model, x = build(name), make_inputs(SPEC.inputs, 3, 4)
    mask = MASK.clone()
    mask[2] = False
    scores = model(x, mask=mask)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    torch.testing.assert_close(scores[:2], model(x, mask=MASK)[:2])


@pytest.mark.parametrize(
    "name, sees", [("list_mlp", True), ("list_attention", True), ("list_mlp alone", False)]
)
def test_who_sees_the_other_documents(name: str, sees: bool) -> None:
    model, x = build(name), make_inputs(SPEC.inputs, 3, 4)
    changed = {**x, "numeric": x["numeric"].clone()}
    changed["numeric"][:, 1] += 1
    same = torch.isclose(model(changed, mask=MASK)[0, 0], model(x, mask=MASK)[0, 0])
    assert bool(same) != sees


def test_masked_mean_is_a_loop() -> None:
    x = torch.randn(3, 4, 5)
    for row, mask in enumerate(MASK):
        torch.testing.assert_close(masked_mean(x, MASK)[row], x[row][mask].mean(0))
    assert torch.equal(masked_mean(x, torch.zeros_like(MASK)), torch.zeros(3, 5))
    x[~MASK] = torch.nan  # values of padding must not affect the mean
    assert masked_mean(x, MASK).isfinite().all()


def test_attention_is_softmax_over_real_positions() -> None:
    torch.manual_seed(0)
    attention, x = SelfAttention(6, 2), torch.randn(3, 4, 6)
    query, key, value = attention.qkv(x).split(6, dim=-1)
    expected = torch.zeros(3, 4, 6)
    for b in range(3):
        for head in (slice(0, 3), slice(3, 6)):
            scores = query[b, :, head] @ key[b, :, head].T / 3**0.5
            weights = scores.masked_fill(~MASK[b], -torch.inf).softmax(-1)
            expected[b, :, head] = weights @ value[b, :, head]
    torch.testing.assert_close(attention(x, MASK), attention.out(expected))
    nowhere = torch.zeros_like(MASK)
    torch.testing.assert_close(attention(x, nowhere), attention(x))
