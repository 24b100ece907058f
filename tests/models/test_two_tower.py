"""Tests the tables that the two towers share, and the sums that they compute."""

from __future__ import annotations

import torch

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.models import TwoTower
from tests.models.specs import FIELDS, make_inputs, make_spec

ITEM_IDS = Field("categorical", (2,), cardinalities=(4, 9))
HISTORY = Field("tokens", (5,), cardinalities=(9,))


def test_texts_of_one_vocabulary_share_their_table() -> None:
    spec = make_spec("retrieval", "tokens", items=("tokens",))
    model = TwoTower(spec, dim=16)
    assert sum(p.numel() for p in model.parameters()) == 11 * 16
    x = make_inputs(spec.inputs, 5)
    query, item = model(x, x)
    assert torch.equal(query, item)  # equal texts match before any training

    apart = TwoTower(spec, dim=16, share_tokens=False)
    assert sum(p.numel() for p in apart.parameters()) == 2 * 11 * 16

    spec.items["tokens"] = Field("tokens", (6,), cardinalities=(12,))
    assert sum(p.numel() for p in TwoTower(spec, dim=16).parameters()) == (11 + 12) * 16


def test_a_history_reads_the_rows_of_the_items_ids() -> None:
    spec = DataSpec("retrieval", {"history": HISTORY}, {"categorical": ITEM_IDS})
    model = TwoTower(spec, dim=16)
    history = torch.tensor([[7, 0, 0, 0, 0]])
    table = model.item_tower.encoders["categorical"].table.weight
    torch.testing.assert_close(model.encode_query({"history": history})[0], table[4 + 7])
    assert model.query_tower.encoders["history"].table.weight is table

    apart = TwoTower(spec, dim=16, share_history=False)
    assert apart.query_tower.encoders["history"].table.weight.shape == (9, 16)


def test_a_side_is_the_sum_of_its_parts_before_training() -> None:
    spec = make_spec("retrieval", *FIELDS, items=("categorical", "tokens"))
    model = TwoTower(spec, dim=16, hidden=(8,)).eval()
    x = make_inputs(spec.items, 5)
    tower = model.item_tower
    expected = tower.encoders["categorical"](x["categorical"]).sum(1) + tower.encoders["tokens"](x["tokens"])
    torch.testing.assert_close(model.encode_item(x), expected)
    assert tower.deep is not None and model.query_tower.deep is not None


def test_only_a_side_with_something_to_combine_gets_hidden_layers() -> None:
    def deep(*kinds: str) -> bool:
        return TwoTower(make_spec("retrieval", *kinds, items=("tokens",)), dim=8).query_tower.deep is not None

    assert not deep("tokens")
    assert deep("categorical")  # two columns
    assert deep("numeric")
    assert deep("tokens", "numeric")


def test_shared_tables_survive_a_checkpoint() -> None:
    spec = DataSpec("retrieval", {"history": HISTORY}, {"categorical": ITEM_IDS})
    torch.manual_seed(0)
    first, second = TwoTower(spec, dim=16), TwoTower(spec, dim=16)
    second.load_state_dict(first.state_dict())
    query, item = make_inputs(spec.inputs, 3), make_inputs(spec.items, 3)
    assert all(torch.equal(a, b) for a, b in zip(first(query, item), second(query, item)))
    encoders = second.query_tower.encoders["history"], second.item_tower.encoders["categorical"]
    assert encoders[0].table.weight is encoders[1].table.weight
