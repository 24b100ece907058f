"""What is larger than memory is one message, before it is allocated."""

from __future__ import annotations

import pytest
import torch

from lit_mlfund import memory
from lit_mlfund.config.errors import problems_of
from lit_mlfund.data.reading import letor
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.memory import OutOfMemory, as_size, fitting, free_bytes, is_refused_allocation
from lit_mlfund.runs.assembly import model_size
from lit_mlfund.runs.assembly.model_size import ModelSize


def test_the_smallest_of_machine_container_and_limit_is_free(monkeypatch):
    assert 0 < free_bytes() <= memory._UNKNOWN
    for names, free in ((("_of_machine",), 7), (("_of_machine", "_of_limit"), 5), (("_of_container",), 0)):
        for name in names:
            monkeypatch.setattr(memory, name, lambda free=free: free - (free == 0))
        assert free_bytes() == free


@pytest.mark.parametrize(
    ("size", "text"), [(999, "999 bytes"), (1500, "1.5 kB"), (4e12, "4.0 TB"), (4e18, "4,000.0 PB")]
)
def test_sizes(size, text):
    assert as_size(size) == text


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (MemoryError(), ""),
        (MemoryError("Unable to allocate 7.28 TiB for an array with shape (1000000, 1000000)"), ", 7.28 TiB at once"),
        (RuntimeError("CPUAllocator: can't allocate memory: you tried to allocate 40 bytes."), ", 40 bytes at once"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), ", 2.00 GiB at once"),
    ],
)  # fmt: skip
def test_a_refused_allocation_names_what_did_not_fit(error, asked):
    assert is_refused_allocation(error)
    message = f"^out of memory: the model{asked}; .* are free$"
    with pytest.raises(OutOfMemory, match=message) as caught, fitting("the model"):
        raise error
    assert problems_of(caught.value) == [str(caught.value)]


def test_other_errors_and_first_messages_pass(monkeypatch):
    for error in (RuntimeError("shapes differ"), OutOfMemory("a first message"), KeyError("x")):
        with pytest.raises(type(error)) as caught, fitting("the model"):
            raise error
        assert caught.value is error


def test_a_model_is_measured_as_it_is_built(monkeypatch):
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.BatchNorm1d(20), torch.nn.Embedding(5, 4))
    torch.manual_seed(0)
    with ModelSize() as size:
        built = torch.nn.Sequential(
            torch.nn.Linear(30, 20), torch.nn.BatchNorm1d(20), torch.nn.Embedding(5, 4)
        )
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), built.state_dict().values()))
    floats = 30 * 20 + 20 + 4 * 20 + 5 * 4
    assert size.total >= 4 * floats and size.total < 4 * floats + 64
    monkeypatch.setattr(model_size, "free_bytes", lambda: 1000)
    message = r"^model: .* tensor \[20, 30\] takes 2.4 kB, and 1.0 kB are free"
    with pytest.raises(OutOfMemory, match=message), ModelSize():
        torch.nn.Linear(30, 20)
    with (
        pytest.raises(OutOfMemory, match=r"tensor \[200\] takes 800 bytes after 800 bytes of others"),
        ModelSize(),
    ):
        torch.zeros(200), torch.zeros(200)
    with ModelSize(), torch.device("meta"):
        torch.nn.Linear(3000, 2000)


def test_a_feature_index_larger_than_memory_is_told_with_its_line(tmp_path, monkeypatch):
    path = tmp_path / "lists.letor"
    lines = [
        f"{n % 3} qid:{n // 5} 1:{n} {10**9 if n == 7 else 5}:1 # 1000000000:1 in words" for n in range(50)
    ]
    path.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(letor, "free_bytes", lambda: 10**9)
    message = (
        r"lists.letor: line 8: feature 1000000000: a table of 1,000,000,001 features for {} documents takes .*TB, and "
        r"1.0 GB are free, enough for features up to {};"
    )
    with pytest.raises(DataError, match=message.format(50, f"{10**9 // (1024 + 400):,}")):
        letor.read_letor(str(path))
    with pytest.raises(DataError, match=message.format(1, f"{10**9 // 1032:,}")):
        letor.scan_letor(str(path))
    # the file of a fitted run may list features that training did not have
    assert letor.read_letor(str(path), width=6).frame.columns[-1] == "f5"
