"""Tests row-wise Adagrad against torch's Adagrad, against its formula row by row, and the cost of a step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lit_mlfund.modules.clipping import clip_norm
from lit_mlfund.optim import RowwiseAdagrad
from lit_mlfund.optim.embedding_tables import SparseTables

ROWS, DIM = 30, 4


def batches(steps: int = 6, rows: int = ROWS) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(rows, (12,), generator=generator) for _ in range(steps)]


def train(table: nn.Embedding, optimizer: torch.optim.Optimizer, ids: list[Tensor]) -> None:
    for part in ids:
        optimizer.zero_grad()
        (table(part) - 1).pow(2).sum().backward()
        optimizer.step()


def make(sparse: bool, dim: int = DIM, rows: int = ROWS) -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(rows, dim, sparse=sparse)


def test_row_by_row() -> None:
    table = make(True)
    weight = table.weight.detach().double().clone()
    sums = [0.0] * ROWS
    for ids in batches():
        gradient = torch.zeros(ROWS, DIM, dtype=torch.float64)
        for row in ids.tolist():  # repeated ids accumulate
            gradient[row] += 2 * (weight[row] - 1)
        for row in set(ids.tolist()):
            sums[row] += float((gradient[row] ** 2).mean())
            weight[row] -= 0.1 * gradient[row] / (sums[row] ** 0.5 + 1e-8)
    optimizer = RowwiseAdagrad(table.parameters(), lr=0.1)
    train(table, optimizer, batches())
    torch.testing.assert_close(table.weight.detach().double(), weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        optimizer.state[table.weight]["sum"].double(), torch.tensor(sums).double(), rtol=1e-5, atol=0
    )


def test_of_one_column_it_is_adagrad() -> None:
    ours, torchs = make(True, 1), make(True, 1)
    train(ours, RowwiseAdagrad(ours.parameters(), lr=0.1, eps=1e-8), batches())
    train(torchs, torch.optim.Adagrad(torchs.parameters(), lr=0.1, eps=1e-8), batches())
    torch.testing.assert_close(ours.weight, torchs.weight)


def test_sparse_and_dense_gradients_train_alike() -> None:
    sparse, dense = make(True), make(False)
    train(sparse, RowwiseAdagrad(sparse.parameters()), batches())
    train(dense, RowwiseAdagrad(dense.parameters()), batches())
    torch.testing.assert_close(sparse.weight, dense.weight)


def test_other_rows_stay() -> None:
    table = make(True)
    before = table.weight.detach().clone()
    train(table, RowwiseAdagrad(table.parameters()), [torch.tensor([3, 3, 7])])
    moved = (table.weight != before).any(1).nonzero().flatten().tolist()
    assert moved == [3, 7]


class Largest(TorchDispatchMode):
    """Records the size of the largest dense tensor that an operation creates; not of its inputs or views of them."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        existing = {tensor.data_ptr() for tensor in dense(args)}
        created = [tensor.numel() for tensor in dense(result) if tensor.data_ptr() not in existing]
        self.numel = max([self.numel, *created])
        return result


def dense(values: Any) -> list[Tensor]:
    several = values if isinstance(values, (tuple, list)) else [values]
    return [value for value in several if isinstance(value, Tensor) and value.layout == torch.strided]


def step_size(rows: int) -> tuple[int, int]:
    """Return the number of elements of the largest new tensor in a step, and the bytes of state."""
    table = make(True, 16, rows)
    optimizer = RowwiseAdagrad(table.parameters())
    train(table, optimizer, batches(1, rows))  # creates the state
    with Largest() as largest:
        optimizer.zero_grad()
        (table(batches(2, rows)[1]) - 1).pow(2).sum().backward()
        clip_norm([table.weight], 0.1)
        optimizer.step()
    (state,) = optimizer.state.values()
    return largest.numel, sum(value.numel() * value.element_size() for value in state.values())


def test_a_step_does_not_grow_with_the_table() -> None:
    few, many = step_size(1_000), step_size(100_000)
    assert few[0] == many[0] <= 12 * 16
    assert (few[1], many[1]) == (4 * 1_000, 4 * 100_000)  # one float per row


def test_a_dense_gradient_would_be_seen() -> None:
    table = make(False, 16, 1_000)
    with Largest() as largest:
        table(torch.tensor([1, 2])).sum().backward()
    assert largest.numel == 16_000


def test_names_a_wrong_argument() -> None:
    with pytest.raises(ValueError, match="lr must not be negative, got -1"):
        RowwiseAdagrad([nn.Parameter(torch.zeros(2, 2))], lr=-1)


def test_a_model_without_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear has no embedding tables"):
        SparseTables().prepare(nn.Linear(2, 2))


def test_several_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("is_initialized", True), ("get_world_size", 2), ("get_backend", "nccl")):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    with pytest.raises(ValueError, match="NCCL does not sum sparse gradients"):
        SparseTables().optimizer(make(True))
