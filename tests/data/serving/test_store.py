"""Stores: batches against plain indexing."""

import pytest
import torch

from lit_mlfund.data.reading.errors import did_you_mean, name_rows
from lit_mlfund.data.serving.batch import concatenate
from lit_mlfund.data.serving.store import ListStore, PairStore, PointStore


def test_points():
    x = {"numeric": torch.randn(6, 2), "categorical": torch.randint(0, 9, (6, 3))}
    store = PointStore(x, torch.arange(6.0), weight=torch.rand(6), index=torch.arange(6) + 100)
    index = torch.tensor([5, 0, 0])
    batch = store.batch(index)
    assert len(store) == 6 and len(batch) == 3
    assert torch.equal(batch.x["numeric"], x["numeric"][index])
    assert torch.equal(batch.x["categorical"], x["categorical"][index])
    assert torch.equal(batch.weight, store.weight[index])
    assert batch.index.tolist() == [105, 100, 100]
    assert PointStore(x, torch.zeros(6)).batch(index).index.tolist() == [5, 0, 0]
    assert store.to(torch.device("meta")).x["numeric"].is_meta
    with pytest.raises(ValueError, match="numeric has 6 rows, expected 5"):
        PointStore(x, torch.zeros(5))


def test_lists_are_padded_with_zeros():
    offsets = torch.tensor([0, 2, 2, 5, 6])
    values = torch.arange(1, 7)
    store = ListStore(
        {"numeric": torch.stack([values, -values], 1).float(), "categorical": values[:, None]},
        values.float(),
        offsets,
        weight=torch.tensor([0.5, 1.0, 1.5, 2.0]),
        index=values * 10,
    )
    batch = store.batch(torch.tensor([2, 1, 0]))
    assert store.lengths.tolist() == [2, 0, 3, 1]
    assert batch.mask.tolist() == [[True] * 3, [False] * 3, [True, True, False]]
    assert batch.relevance.tolist() == [[3, 4, 5], [0, 0, 0], [1, 2, 0]]
    assert batch.x["numeric"][..., 1].tolist() == [[-3, -4, -5], [0, 0, 0], [-1, -2, 0]]
    assert batch.x["categorical"][..., 0].tolist() == [[3, 4, 5], [0, 0, 0], [1, 2, 0]]
    assert batch.weight.tolist() == [1.5, 1.0, 0.5]
    assert batch.index.tolist() == [[30, 40, 50], [-1, -1, -1], [10, 20, -1]]
    assert batch.query.tolist() == [2, 1, 0]
    assert store.batch(torch.tensor([1])).mask.shape == (1, 0)
    for wrong in ([0, 2], [1, 6], [0, 4, 2, 6]):
        with pytest.raises(ValueError, match="offsets must rise from 0 to 6"):
            ListStore({}, values.float(), torch.tensor(wrong))


def test_pairs():
    query, item = {"tokens": torch.arange(6).view(3, 2)}, {"tokens": torch.arange(8).view(4, 2) + 50}
    store = PairStore(
        query,
        item,
        query_row=torch.tensor([0, 1, 2, 2]),
        item_id=torch.tensor([3, 3, 1, 0]),
        query_id=torch.tensor([7, 7, 8, 8]),
        log_q=torch.tensor([-1.0, -2.0, -3.0, -4.0]),
    )
    batch = store.batch(torch.tensor([3, 1]))
    assert store.num_items == 4 and len(store) == 4
    assert batch.query["tokens"].tolist() == [[4, 5], [2, 3]]
    assert batch.item["tokens"].tolist() == [[50, 51], [56, 57]]
    assert batch.item_id.tolist() == [0, 3]
    assert batch.query_id.tolist() == [8, 7]
    assert batch.log_q.tolist() == [-1, -4]
    assert batch.index.tolist() == [3, 1]
    assert PairStore(query, item, store.query_row, store.item_id).batch(
        torch.tensor([3])
    ).query_id.tolist() == [2]


def test_rows_are_counted_from_one():
    assert name_rows([2]) == "row 3"
    assert name_rows([0, 4]) == "rows 1, 5"
    assert name_rows(range(7), limit=3) == "rows 1, 2, 3, … (7 in all)"


def test_suggestions():
    assert did_you_mean("Arr_delya", ["dep_delay", "arr_delay"]) == "; did you mean 'arr_delay'?"
    assert did_you_mean("xyz", ["a", "b"]) == "; there are 'a', 'b'"
    assert did_you_mean("xyz", []) == "; there are none"


def test_lists_of_different_lengths_are_joined():
    """As the buffered scores of two batches, each padded to its own longest list."""
    parts = [torch.ones(2, 3), torch.full((1, 5), 2.0), torch.full((1, 1), 3.0)]
    expected = [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [2, 2, 2, 2, 2], [3, 0, 0, 0, 0]]
    assert concatenate(parts).tolist() == expected
    assert concatenate([torch.ones(2), torch.zeros(1)]).tolist() == [1, 1, 0]


def test_taken_queries_are_those_of_the_whole() -> None:
    lengths = torch.tensor([2, 0, 3, 1])
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    store = ListStore(
        {"numeric": torch.randn(6, 2)}, torch.arange(6.0), offsets, torch.tensor([1.0, 2.0, 3.0, 4.0])
    )
    index = torch.tensor([3, 0, 2, 1])
    taken, expected = store.take(index).batch(torch.arange(4)), store.batch(index)
    assert torch.equal(taken.x["numeric"], expected.x["numeric"])
    for name in ("relevance", "mask", "weight", "index"):  # rows of the file stay what they were
        assert torch.equal(getattr(taken, name), getattr(expected, name)), name


def test_taken_rows_are_those_of_the_whole() -> None:
    store = PointStore({"numeric": torch.randn(5, 2)}, torch.arange(5.0), torch.rand(5), torch.arange(10, 15))
    taken, expected = (
        store.take(torch.tensor([4, 1])).batch(torch.arange(2)),
        store.batch(torch.tensor([4, 1])),
    )
    assert torch.equal(taken.x["numeric"], expected.x["numeric"])
    assert torch.equal(taken.index, expected.index)
    assert torch.equal(taken.weight, expected.weight)
