"""Which stores are held on a GPU, and how large they are; whether the loader serves the same rows from there."""

import torch

from lit_mlfund.data.serving import placement
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.store import ListStore, PointStore

GPU = torch.device("cuda", 0)


def points(rows=10):
    return PointStore({"numeric": torch.zeros(rows, 3), "categorical": torch.zeros(rows, 2, dtype=torch.int64)},
                      torch.zeros(rows), index=torch.arange(rows))  # fmt: skip


def test_the_size_counts_every_tensor():
    assert placement.num_bytes(points(10)) == 10 * (3 * 4 + 2 * 8 + 4 + 8)
    lists = ListStore({"numeric": torch.zeros(6, 1)}, torch.zeros(6), torch.tensor([0, 2, 6]))
    assert placement.num_bytes(lists) == 6 * 4 + 6 * 4 + 3 * 8


def test_held_up_to_a_share_of_the_free_memory(monkeypatch):
    store = points()
    size = placement.num_bytes(store)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * size, 100 * size))
    assert placement.held_on(store, GPU) == GPU
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * size - 4, 100 * size))
    assert placement.held_on(store, GPU) is None
    assert placement.held_on(store, torch.device("cpu")) is None


def test_what_is_read_from_disk_stays_there(monkeypatch):
    class OnDisk(PointStore):
        block = 4

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**40, 2**40))
    assert placement.held_on(OnDisk({"numeric": torch.zeros(2, 1)}, torch.zeros(2)), GPU) is None
    assert placement.held_on(object(), GPU) is None


def test_a_loader_with_a_device_serves_the_same_rows():
    store = PointStore({"numeric": torch.randn(23, 2)}, torch.randn(23))
    for shuffle in (False, True):
        plain, held = (
            BatchLoader(store, 5, shuffle=shuffle, seed=3, device=device) for device in (None, "cpu")
        )
        for expected, found in zip(plain, held, strict=True):
            assert torch.equal(expected.x["numeric"], found.x["numeric"])
            assert torch.equal(expected.index, found.index)
        on_meta = BatchLoader(store, 5, shuffle=shuffle, device="meta")
        assert {index.device.type for index in on_meta.order(0)} == {"meta"}
