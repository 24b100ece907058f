"""Tests the decoder: causality, relative positions, and activation checkpointing that changes only memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.models import Decoder
from lit_mlfund.models.attention import Rotary

LENGTH, CLASSES = 12, 7


def make_spec(length: int = LENGTH, vocabulary: int = CLASSES) -> DataSpec:
    field = Field("sequence", (length,), cardinalities=(vocabulary,))
    return DataSpec("multiclass", {"tokens": field}, classes=tuple("abcdefg"))


def make_decoder(length: int = LENGTH, **options: Any) -> Decoder:
    torch.manual_seed(0)
    model = Decoder(make_spec(length), **{"dim": 16, "depth": 2, "num_heads": 2, **options})
    for parameter in model.parameters():  # large weights, since the small initial ones could hide errors
        nn.init.normal_(parameter, std=0.3)
    return model


def draw_ids(rows: int = 3, length: int = LENGTH, seed: int = 1) -> Tensor:
    return torch.randint(CLASSES, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("position", [0, 4, LENGTH - 1])
def test_a_later_token_changes_no_earlier_logit(position: int) -> None:
    model, ids = make_decoder().eval(), draw_ids()
    changed = ids.clone()
    changed[:, position] = (ids[:, position] + 1) % CLASSES
    before, after = model({"tokens": ids}), model({"tokens": changed})
    assert torch.equal(before[:, :position], after[:, :position])
    assert ((before[:, position:] - after[:, position:]).abs().amax((0, 2)) > 1e-4).all()


def test_a_prefix_has_the_logits_of_the_whole() -> None:
    model, ids = make_decoder().eval(), draw_ids()
    torch.testing.assert_close(model({"tokens": ids[:, :5]}), model({"tokens": ids})[:, :5])


def test_order_matters_and_distance_alone_counts() -> None:
    rotary = Rotary(8, 50)
    query, key = torch.randn(2, 8)
    rotated_query, rotated_key = rotary(query.expand(50, 8)), rotary(key.expand(50, 8))
    products = rotated_query @ rotated_key.T
    for distance in (0, 3, 20):
        diagonal = products.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)
    assert products.diagonal(-3)[0] != products.diagonal(-20)[0]
    # a pair of coordinates is a complex number, and a position is a power of a number on the unit circle
    pairs = torch.complex(query[:4].double(), query[4:].double())
    angle = 10_000.0 ** (-torch.arange(4).double() / 4) * 7
    expected = pairs * torch.polar(torch.ones(4).double(), angle)
    torch.testing.assert_close(rotated_query[7].double(), torch.cat([expected.real, expected.imag]))


def gradients(model: Decoder, ids: Tensor) -> tuple[dict[str, Tensor], int]:
    """Return the gradients of a training step, and the bytes of the tensors saved for the backward pass."""
    saved: dict[int, int] = {}

    def record(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    torch.manual_seed(3)
    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        logits = model.train()({"tokens": ids})
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
    size = sum(nbytes for pointer, nbytes in saved.items() if pointer not in own)
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}, size


def test_activation_checkpointing_keeps_less_and_changes_nothing() -> None:
    ids = draw_ids(16, 64)
    plain, plain_bytes = gradients(make_decoder(64, depth=8), ids)
    checkpointed, bytes_of_inputs = gradients(make_decoder(64, depth=8, activation_checkpointing=True), ids)
    for name, gradient in plain.items():  # recomputation draws the same dropout masks (rate 0.1)
        assert torch.equal(gradient, checkpointed[name]), name
    assert bytes_of_inputs < 0.15 * plain_bytes


def test_tied_embeddings_are_one_parameter() -> None:
    tied, free = make_decoder(tie_embeddings=True), make_decoder()
    assert tied.head.weight is tied.embedding.weight
    assert (
        sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in tied.parameters()) == 16 * CLASSES
    )
    with pytest.raises(ValueError, match="tie_embeddings needs targets of the same vocabulary"):
        Decoder(make_spec(vocabulary=9), dim=16, num_heads=2, tie_embeddings=True)


def test_learns_to_repeat_and_generates_it() -> None:
    torch.manual_seed(0)
    model = Decoder(make_spec(), dim=32, depth=2, num_heads=2, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        start = torch.randint(CLASSES, (32, 1))
        text = (start + torch.arange(LENGTH + 1)) % CLASSES  # a, b, c, … round and round
        logits = model({"tokens": text[:, :-1]})
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    start = torch.tensor([[0, 1], [4, 5]])
    generated = model.eval().generate(start, 20, torch.Generator().manual_seed(0))  # beyond the window of 12
    assert torch.equal(generated, (start[:, :1] + torch.arange(22)) % CLASSES)


def test_refuses_impossible_options() -> None:
    with pytest.raises(ValueError, match="even dim / num_heads, got 3"):
        make_decoder(dim=9, num_heads=3)
    with pytest.raises(ValueError, match="multiple of num_heads"):
        make_decoder(dim=10, num_heads=4)
    with pytest.raises(ValueError, match="dropout must be in"):
        make_decoder(dropout=1.0)
