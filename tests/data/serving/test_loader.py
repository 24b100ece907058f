"""Loader: every row as often as it should be, an order that repeats, and a middle to resume from."""

import pytest
import torch

from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.store import ListStore, PointStore


def store(size: int) -> PointStore:
    values = torch.arange(size)
    return PointStore({"numeric": values[:, None].float()}, values.float())


def rows(loader: BatchLoader) -> list[list[int]]:
    return [batch.y.int().tolist() for batch in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def test_in_order():
    loader = BatchLoader(store(10), 4)
    assert rows(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(loader) == 3
    assert rows(BatchLoader(store(10), 4, drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("inference", [False, True])
def test_batches_in_order_are_views_of_the_store(inference: bool):
    """Only the first batch is a copy."""
    data = store(10)
    with torch.inference_mode(inference):
        batches = list(BatchLoader(data, 4))
    own = data.y.untyped_storage().data_ptr()
    assert [batch.y.untyped_storage().data_ptr() == own for batch in batches] == [False, True, True]
    for batch, index in zip(batches, torch.arange(10).split(4)):
        assert torch.equal(batch.index, index)
        assert torch.equal(batch.x["numeric"], data.batch(index).x["numeric"])
    loader = BatchLoader(data, 4)
    loader.load_state_dict({"epoch": 0, "position": 1})
    assert rows(loader) == [[4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("inference", [False, True])
def test_a_model_that_changes_its_inputs_does_not_change_the_store(inference: bool):
    with torch.inference_mode(inference):
        data = store(10)
    with torch.inference_mode(inference):
        for batch in BatchLoader(data, 4):
            batch.x["numeric"].mul_(2)
    assert torch.equal(data.x["numeric"][:, 0], torch.arange(10.0))


def test_changing_only_later_inputs_is_an_error():
    with pytest.raises(RuntimeError, match="changed this batch in place"):
        for number, batch in enumerate(BatchLoader(store(10), 4)):
            if number:
                batch.x["numeric"].mul_(2)


def test_order_is_a_function_of_seed_and_epoch():
    loader = BatchLoader(store(50), 8, shuffle=True, seed=3)
    first, second = rows(loader), rows(loader)
    assert first != second
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(50))
    again = BatchLoader(store(50), 8, shuffle=True, seed=3)
    again.set_epoch(1)
    assert rows(again) == second
    assert rows(BatchLoader(store(50), 8, shuffle=True, seed=4)) not in (first, second)


def test_resumes_in_the_middle_of_an_epoch():
    whole = BatchLoader(store(50), 8, shuffle=True)
    epochs = [rows(whole) for _ in range(3)]

    stopped = BatchLoader(store(50), 8, shuffle=True)
    rows(stopped)
    passing = iter(stopped)
    next(passing), next(passing)
    state = stopped.state_dict()
    assert state == {"epoch": 1, "position": 2}

    resumed = BatchLoader(store(50), 8, shuffle=True)
    resumed.load_state_dict(state)
    iter(resumed)  # Lightning does so before it sets the epoch
    resumed.set_epoch(1)
    assert len(resumed) == 7
    assert rows(resumed) == epochs[1][2:]
    assert rows(resumed) == epochs[2]


def test_resumes_at_the_end_of_an_epoch():
    loader = BatchLoader(store(50), 8, shuffle=True)
    epochs = [rows(loader), rows(loader)]
    resumed = BatchLoader(store(50), 8, shuffle=True)
    resumed.load_state_dict({"epoch": 0, "position": 7})
    assert rows(resumed) == epochs[1]


def test_an_epoch_cut_short_does_not_continue_in_the_next():
    loader = BatchLoader(store(50), 8, shuffle=True)
    resumed = BatchLoader(store(50), 8, shuffle=True)
    resumed.load_state_dict({"epoch": 0, "position": 3})
    resumed.set_epoch(1)
    rows(loader)
    assert rows(resumed) == rows(loader)


@pytest.mark.parametrize("size", [1, 3, 16, 29, 32])
@pytest.mark.parametrize("drop_last", [False, True])
def test_training_ranks_have_equal_batches_and_join_to_one_process(size, drop_last):
    ranks = [
        BatchLoader(store(size), 4, shuffle=True, rank=rank, world_size=3, drop_last=drop_last)
        for rank in range(3)
    ]
    served = [rows(loader) for loader in ranks]
    assert {len(batches) for batches in served} == {len(ranks[0])}
    assert [[len(batch) for batch in batches] for batches in served] == [[len(b) for b in served[0]]] * 3
    one = rows(BatchLoader(store(size), 12, shuffle=True))
    for step, joint in enumerate(one):
        if len(joint) == 12:
            assert sorted(flat([batches[step] for batches in served])) == sorted(joint)
    if not drop_last:
        assert set(flat(flat(served))) == set(range(size))


@pytest.mark.parametrize("size", [1, 3, 16, 29])
def test_evaluation_ranks_share_the_rows_without_repeats(size):
    ranks = [BatchLoader(store(size), 4, rank=rank, world_size=3) for rank in range(3)]
    served = [rows(loader) for loader in ranks]
    assert sorted(flat(flat(served))) == list(range(size))
    assert [len(batches) for batches in served] == [len(loader) for loader in ranks]


@pytest.mark.parametrize("size", [12, 13, 14, 25])
def test_evaluation_ranks_have_equally_many_batches(size):
    """Where a batch takes all processes (tables or weights in shards), one that lacks a batch stops the others."""
    served = [rows(BatchLoader(store(size), 4, rank=rank, world_size=3)) for rank in range(3)]
    assert len({len(batches) for batches in served}) == 1
    assert all(1 <= len(batch) <= 4 for batches in served for batch in batches)


def test_similar_lengths_share_a_batch():
    lengths = torch.randint(1, 100, (1000,), generator=torch.Generator().manual_seed(0))
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    total = int(offsets[-1])
    lists = ListStore({"numeric": torch.zeros(total, 1)}, torch.zeros(total), offsets)

    def padding(loader: BatchLoader) -> float:
        batches = list(loader)
        assert sorted(torch.cat([batch.query for batch in batches]).tolist()) == list(range(1000))
        return 1 - sum(int(b.mask.sum()) for b in batches) / sum(b.mask.numel() for b in batches)

    plain = padding(BatchLoader(lists, 16, shuffle=True))
    bucketed = BatchLoader(lists, 16, shuffle=True, lengths=lists.lengths)
    assert padding(bucketed) < 0.1 < 0.4 < plain
    first, second = ([batch.query.tolist() for batch in bucketed] for _ in range(2))
    assert first != second


def test_names_a_wrong_argument():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        BatchLoader(store(3), 0)
    with pytest.raises(ValueError, match="rank must be in"):
        BatchLoader(store(3), 1, rank=2, world_size=2)
