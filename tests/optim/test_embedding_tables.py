"""Tests models with prepared tables: same outputs, same gradients, shared tables stay shared."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from lit_mlfund import models
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.models.sharded_table import ShardedTable
from lit_mlfund.optim import ShardedTables, SparseTables
from tests.models.specs import CATEGORICAL, make_inputs, make_spec

KINDS = ("numeric", "categorical", "tokens")
POINT = make_spec("binary", *KINDS)
PAIRS = make_spec("retrieval", "categorical", "tokens", items=("categorical", "tokens"))
CASES: dict[str, Any] = {
    "DLRM": (lambda: models.DLRM(POINT, embedding_dim=4, dropout=0.0), POINT),
    "MLP": (lambda: models.MLP(POINT, hidden=(8,), dropout=0.0), POINT),
    "Linear": (lambda: models.Linear(POINT), POINT),
    "TwoTower": (lambda: models.TwoTower(PAIRS, dim=8), PAIRS),
}


def loss(model: nn.Module, spec: Any) -> torch.Tensor:
    if spec.items:
        query, item = model(make_inputs(spec.inputs, 6), make_inputs(spec.items, 6, seed=1))
        return (query * item).sum().square()
    return (model(make_inputs(spec.inputs, 6)) - 1).square().sum()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tables", [SparseTables(), ShardedTables()], ids=["sparse", "sharded"])
def test_same_outputs_and_gradients(name: str, tables: Any) -> None:
    make, spec = CASES[name]
    torch.manual_seed(0)
    plain = make()
    prepared = copy.deepcopy(plain)
    tables.prepare(prepared)
    assert prepared.state_dict().keys() == plain.state_dict().keys()
    expected, actual = loss(plain, spec), loss(prepared, spec)
    torch.testing.assert_close(actual, expected)
    expected.backward()
    actual.backward()
    for (key, parameter), reference in zip(prepared.named_parameters(), plain.parameters(), strict=True):
        if parameter.grad is not None:
            assert parameter.grad.is_sparse == (isinstance(tables, SparseTables) and "table" in key)
            torch.testing.assert_close(parameter.grad.to_dense(), reference.grad)


def test_shared_tables_stay_shared() -> None:
    history = Field(
        "tokens", (4,), cardinalities=CATEGORICAL.cardinalities[1:]
    )  # ids of the items' second column
    spec = DataSpec("retrieval", {"history": history}, {"categorical": CATEGORICAL})
    model = prepared(models.TwoTower(spec, dim=8), SparseTables())
    (tables,) = SparseTables().optimizer(model).param_groups
    assert tables["param_names"] == ["query_tower.encoders.history.table.weight"]
    model = prepared(models.TwoTower(spec, dim=8), ShardedTables())
    owners = [module for module in model.modules() if hasattr(module, "table")]
    assert len(owners) == 2 and isinstance(owners[0].table, ShardedTable)
    assert owners[0].table is owners[1].table


def prepared(model: nn.Module, tables: Any) -> nn.Module:
    tables.prepare(model)
    return model
