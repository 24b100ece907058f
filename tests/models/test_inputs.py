"""Tests the input encoder against plain lookups and means."""

from __future__ import annotations

import pytest
import torch

from lit_mlfund.data.serving.spec import Field
from lit_mlfund.models.inputs import CategoricalEmbedding, InputEncoder, TokenBag, table_width
from tests.models.specs import FIELDS, make_inputs


def test_table_width_is_the_stated_rule() -> None:
    assert [table_width([n]) for n in (1, 2, 10, 60, 10_000)] == [2, 3, 6, 16, 16]
    assert table_width([3, 10]) == table_width([10])


def test_categorical_columns_have_their_own_rows() -> None:
    embedding = CategoricalEmbedding((2, 3), 4)
    vectors = embedding(torch.tensor([[1, 2], [0, 0]]))
    assert vectors.shape == (2, 2, 4)
    assert torch.equal(vectors[0], embedding.table.weight[[1, 4]])
    assert torch.equal(vectors[1], torch.zeros(2, 4))  # unknown categories start at zero


def test_code_dropout_hides_that_share_in_training_only() -> None:
    torch.manual_seed(0)
    embedding = CategoricalEmbedding((2,), 1, code_dropout=0.3)
    torch.nn.init.ones_(embedding.table.weight)
    with torch.no_grad():
        embedding.table.weight[0] = 0
    codes = torch.ones(20_000, 1, dtype=torch.int64)
    assert embedding(codes).mean().item() == pytest.approx(0.7, abs=0.015)
    assert embedding.eval()(codes).mean() == 1


def test_a_bag_is_the_sum_over_real_tokens_by_root_length() -> None:
    bag = TokenBag(11, 4)
    ids = torch.tensor([[[3, 3, 5, 0], [7, 0, 0, 0]], [[0, 0, 0, 0], [1, 2, 3, 4]]])
    table = bag.table.weight
    expected = torch.stack(
        [
            (2 * table[3] + table[5]) / 3**0.5,
            table[7],
            torch.zeros(4),
            (table[1] + table[2] + table[3] + table[4]) / 2,
        ]
    )
    torch.testing.assert_close(bag(ids), expected.view(2, 2, 4))
    torch.testing.assert_close(bag(torch.nn.functional.pad(ids, (0, 5))), bag(ids))


def test_padding_gets_no_gradient() -> None:
    bag = TokenBag(11, 4)
    bag(torch.tensor([[3, 0, 0], [0, 0, 0]])).sum().backward()
    used = bag.table.weight.grad.abs().sum(1) > 0
    assert used.nonzero().flatten().tolist() == [3]


def test_a_shared_bag_reads_from_its_offset() -> None:
    table = torch.nn.Embedding(9, 4)
    bag = TokenBag(5, 4, table=table, offset=3)
    torch.testing.assert_close(bag(torch.tensor([[2, 0]])), table.weight[[5]])
    assert list(bag.parameters()) == [table.weight]


@pytest.mark.parametrize("leading", [(5,), (2, 3)])
def test_encoder_concatenates_every_kind_under_any_leading_dimensions(leading: tuple[int, ...]) -> None:
    encoder = InputEncoder(FIELDS, embedding_dim=4, token_dim=8)
    x = make_inputs(FIELDS, *leading)
    vector = encoder(x)
    assert encoder.dim == 3 + 2 * 4 + 8 + 2 * 8 * 8
    assert vector.shape == (*leading, encoder.dim)
    assert torch.equal(vector[..., :3], x["numeric"])
    assert torch.equal(vector[..., -128:], x["image"].flatten(-3))
    rows = {name: value.flatten(0, len(leading) - 1) for name, value in x.items()}
    torch.testing.assert_close(encoder(rows), vector.flatten(0, len(leading) - 1))


def test_embedding_width_defaults_to_the_rule() -> None:
    fields = {"c": Field("categorical", (2,), cardinalities=(5, 60))}
    assert InputEncoder(fields).dim == 2 * 16
