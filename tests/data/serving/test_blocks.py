"""An order by blocks: every row once, repeatable, resumable, mixed across blocks, and equal over ranks."""

from itertools import chain

import pytest
import torch

from lit_mlfund.data.serving.blocks import BlockOrder, regroup
from lit_mlfund.data.serving.loader import BatchLoader


class Numbers:
    """A store whose batch is its index."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def batch(self, index):
        return index


def loader(size=1000, batch_size=7, **kwargs):
    return BatchLoader(Numbers(size), batch_size, **{"block": 16, "seed": 3, "shuffle": True, **kwargs})


@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000, 1024, 1025])
def test_every_row_once(size):
    rows = torch.cat(list(BlockOrder(size, 16, window=4).rows(seed=5)))
    assert sorted(rows.tolist()) == list(range(size))
    for start in {0, size // 3, size // 2, size - 1}:
        assert torch.equal(torch.cat(list(BlockOrder(size, 16, window=4).rows(5, start))), rows[start:])


def test_a_batch_meets_rows_from_all_over():
    order = BlockOrder(2**16, 64)
    rows = torch.cat(list(order.rows(seed=0)))[:4096]
    assert (rows // 64).unique().numel() == 64  # a window's worth
    spread = (rows[:1024].float() / 2**16).histc(8, 0, 1)
    assert (spread > 40).all()  # 128 expected in each eighth of the file
    assert rows[:64].float().diff().sign().sum().abs() < 32  # no run in the order of the file


def test_regroup():
    pieces = torch.arange(100).split([1, 30, 0, 3, 66])
    groups = list(regroup(pieces, 8))
    assert [len(group) for group in groups] == [8] * 12 + [4]
    assert torch.equal(torch.cat(groups), torch.arange(100))


def test_epochs_differ_and_seeds_repeat():
    first, second = loader(), loader()
    one, two = ([b.tolist() for b in first] for _ in range(2))
    assert one != two and one == [b.tolist() for b in second]
    assert one != [b.tolist() for b in loader(seed=4)]
    assert sorted(chain.from_iterable(two)) == list(range(1000)) and len(one) == len(first) == 143


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("world_size", [1, 2])
def test_resumed_in_the_middle(shuffle, world_size):
    whole = loader(shuffle=shuffle, world_size=world_size, rank=world_size - 1)
    list(whole)
    expected = [batch.tolist() for batch in whole]
    cut = loader(shuffle=shuffle, world_size=world_size, rank=world_size - 1)
    cut.set_epoch(1)
    passing = iter(cut)
    head = [next(passing).tolist() for _ in range(10)]
    state = cut.state_dict()
    again = loader(shuffle=shuffle, world_size=world_size, rank=world_size - 1)
    again.load_state_dict(state)
    assert head + [batch.tolist() for batch in again] == expected


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("size", [2, 999, 1000, 1001])
def test_ranks_share_what_one_process_would_see(size, drop_last):
    alone = [b.tolist() for b in loader(size, batch_size=14, drop_last=drop_last)]
    ranks = [loader(size, world_size=2, rank=rank, drop_last=drop_last, batch_size=7) for rank in range(2)]
    parts = [[b.tolist() for b in part] for part in ranks]
    assert [len(part) for part in parts] == [len(part) for part in ranks] and len(parts[0]) == len(parts[1])
    for joint, left, right in zip(alone, *parts):
        assert left == joint[::2] and (right == joint[1::2] or len(right) == len(joint[1::2]) + 1)
    if not drop_last:
        assert set(chain.from_iterable(parts[0] + parts[1])) == set(range(size))


@pytest.mark.parametrize("rank", [0, 1])
def test_in_order_it_is_the_plain_loader(rank):
    arguments = {"shuffle": False, "rank": rank, "world_size": 2}
    plain, blocked = loader(block=None, **arguments), loader(**arguments)
    assert [b.tolist() for b in blocked] == [b.tolist() for b in plain]
    assert len(list(plain)) == len(plain) == len(list(blocked))
