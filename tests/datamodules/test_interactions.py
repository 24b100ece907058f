"""Interactions: the past of every pair against a loop over the file, side tables, serving from a state."""

import math

import numpy as np
import polars as pl
import pytest
import torch

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules.interactions import InteractionsDataModule


def random_file(tmp_path, rows=300, users=12, items=25, name="inter.csv", seed=0):
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "who": rng.integers(0, users, rows),
            "what": [f"i{i}" for i in rng.zipf(1.3, rows) % items],
            "when": rng.integers(0, 60, rows),  # many ties
            "rating": rng.random(rows),
        }
    )
    frame.write_csv(tmp_path / name)
    return frame


def module(tmp_path, **options):
    options = {"path": str(tmp_path / "inter.csv"), "user": "who", "item": "what", "time": "when", **options}
    data = InteractionsDataModule(**options)
    return data


def built(tmp_path, **options):
    data = module(tmp_path, **options)
    data.setup()
    return data


def whole(store):
    return store.batch(torch.arange(len(store)))


@pytest.mark.parametrize("split", ["time", "last"])
def test_the_past_of_a_pair_is_what_a_loop_over_the_file_finds(tmp_path, split):
    frame = random_file(tmp_path)
    data = built(tmp_path, split=split, history_length=5)
    names = data.item_names("val")
    ordered = frame.with_row_index().sort("when", maintain_order=True)
    train = set(data.stores["train"].index.tolist())
    known = {frame["what"][row] for row in train}
    earlier = {"val": train, "test": train | set(data.stores["val"].index.tolist())}
    ties = 0
    for name, store in data.stores.items():
        batch = whole(store)
        for pair, row in enumerate(batch.index.tolist()):
            who, what, when, _ = frame.row(row)
            assert names[batch.item_id[pair]] == what
            past = [r["what"] for r in ordered.to_dicts() if r["who"] == who and r["when"] < when]
            history = [names[token - 1] for token in batch.query["history"][pair].tolist() if token]
            assert history == [item for item in past if item in known][-5:]
            if name != "train":
                tied = {
                    r["what"]
                    for r in ordered.to_dicts()
                    if r["who"] == who and r["when"] == when and r["index"] in earlier[name]
                }
                assert {names[i] for i in data.seen(name)[pair]} == set(past) | tied
                ties += len(tied - set(past))
    assert (ties > 0) == (split == "last")
    assert data.seen("val") is not None and len(data.seen("val")) == len(data.stores["val"])


def test_the_latest_interactions_are_held_out(tmp_path):
    frame = random_file(tmp_path)
    stores = built(tmp_path).stores
    when = {name: frame["when"][store.index.tolist()] for name, store in stores.items()}
    assert when["train"].max() < when["val"].min() <= when["val"].max() < when["test"].min()
    assert sum(map(len, stores.values())) == frame.height

    stores = built(tmp_path, split="last").stores
    last = frame.with_row_index().sort("when", maintain_order=True).group_by("who", maintain_order=True)
    rows = [group["index"].to_list() for _, group in last if group.height > 2]
    assert stores["test"].index.tolist() == sorted(r[-1] for r in rows)
    assert stores["val"].index.tolist() == sorted(r[-2] for r in rows)


def test_ids_outside_of_train_have_code_zero_and_are_still_candidates(tmp_path):
    random_file(tmp_path, rows=60, users=30, items=500)
    data = built(tmp_path)
    frame = pl.read_csv(tmp_path / "inter.csv")
    for column, entities in (("who", data.users), ("what", data.items)):
        trained = {str(frame[column][row]) for row in data.stores["train"].index.tolist()}
        assert set(entities.names[: entities.num_known]) == trained
        assert set(entities.names) == set(map(str, frame[column]))
        codes = entities.inputs["categorical"][:, 0].tolist()
        assert codes == [*range(1, len(trained) + 1), *[0] * (len(codes) - len(trained))]
    assert data.items.num_known < len(data.items.names)
    assert data.spec.num_items == len(data.items.names) == data.corpus("val")["categorical"].shape[0]
    field = data.spec.inputs["history"]
    assert (field.kind, field.shape, field.cardinalities) == ("tokens", (50,), (data.items.num_known + 1,))


def test_log_q_is_the_share_of_an_item_in_train(tmp_path):
    frame = random_file(tmp_path)
    data = built(tmp_path)
    rows = data.stores["train"].index.tolist()
    counts = frame["what"][rows].value_counts()
    share = dict(counts.iter_rows())
    batch = whole(data.stores["train"])
    expected = [math.log(share[frame["what"][row]] / len(rows)) for row in rows]
    torch.testing.assert_close(batch.log_q, torch.tensor(expected))
    assert data.popularity("val").tolist() == [share.get(name, 0) for name in data.item_names("val")]
    assert whole(built(tmp_path, log_q=False).stores["train"]).log_q is None
    assert built(tmp_path, exclude_seen=False).seen("val") is None


def test_side_tables_are_joined_by_id(tmp_path):
    frame = random_file(tmp_path)
    items = pl.DataFrame({"what": [f"i{i}" for i in range(30)], "price": [float(i) for i in range(30)]})
    items = items.with_columns(kind=pl.Series(["a", "b"] * 15)).filter(pl.col("what") != "i3")
    items.sample(fraction=1.0, shuffle=True, seed=1).write_parquet(tmp_path / "items.parquet")
    pl.DataFrame({"who": range(12), "age": [20 + i for i in range(12)]}).write_csv(tmp_path / "users.csv")
    data = built(
        tmp_path,
        items_path=str(tmp_path / "items.parquet"),
        users_path=str(tmp_path / "users.csv"),
        min_count=1,
    )
    assert "i29" in data.item_names("val")  # in the catalogue only
    assert data.spec.items["numeric"].names == ("price",)
    assert data.spec.items["categorical"].names == ("what", "kind")
    corpus, names = data.corpus("val"), data.item_names("val")
    known = [i for i, name in enumerate(names) if name in set(items["what"])]
    price = np.array([float(names[i][1:]) for i in known])
    values = corpus["numeric"][known, 0].numpy()
    assert np.corrcoef(price, values)[0, 1] > 0.999999
    kinds = corpus["categorical"][:, 1].tolist()
    assert all((kinds[i] == kinds[known[0]]) == (price[j] % 2 == price[0] % 2) for j, i in enumerate(known))
    missing = names.index("i3")
    trained = [i for i in known if i < data.items.num_known]
    assert kinds[missing] == 0
    assert corpus["numeric"][missing, 0] == corpus["numeric"][trained, 0].quantile(0.5)
    batch = whole(data.stores["train"])
    age = [20 + frame["who"][row] for row in batch.index.tolist()]
    assert np.corrcoef(age, batch.query["numeric"][:, 0].numpy())[0, 1] > 0.999999


def test_a_state_alone_serves_a_new_file(tmp_path):
    random_file(tmp_path)
    data = built(tmp_path)
    torch.save(data.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    served = module(tmp_path, path="gone.csv")
    served.load_state_dict(state)
    assert served.spec == data.spec
    assert served.state_dict() == data.state_dict()

    pl.DataFrame({"who": [3, 99], "note": ["x", "y"]}).write_csv(tmp_path / "queries.csv")
    loader, frame = served.new_loader(str(tmp_path / "queries.csv"), need_target=False)
    (batch,) = loader
    assert frame["note"].to_list() == ["x", "y"]
    assert served.notes == {"unknown_users": 1, "unknown_items": 0}
    mine = (
        pl.read_csv(tmp_path / "inter.csv")
        .filter(pl.col("who") == 3)
        .sort("when", maintain_order=True)["what"]
    )
    names = served.item_names("new")
    assert {names[i] for i in served.seen("new")[0]} == set(mine)
    known = set(names[: data.items.num_known])
    assert [names[t - 1] for t in batch.query["history"][0] if t] == [item for item in mine if item in known]
    assert batch.query["categorical"][1, 0] == 0 and not batch.query["history"][1].any()
    assert len(served.seen("new")[1]) == 0


def test_a_new_file_with_items_is_measured_against_all_items_old_and_new(tmp_path):
    random_file(tmp_path)
    data = built(tmp_path)
    rows = {"who": [3, 3, 3, 99], "what": ["fresh", "i1", "i2", "i1"], "when": [100, 101, 101, 5]}
    pl.DataFrame(rows).write_csv(tmp_path / "later.csv")
    (batch,) = data.new_loader(str(tmp_path / "later.csv"), need_target=True)[0]
    names = data.item_names("new")
    assert [names[i] for i in batch.item_id] == rows["what"]
    assert names[-1] == "fresh" and data.corpus("new")["categorical"].shape[0] == len(names)
    assert data.popularity("new").shape == (len(names),)
    assert batch.item["categorical"][0, 0] == 0
    assert data.notes == {"unknown_users": 1, "unknown_items": 1}
    seen = [{names[i] for i in items} for items in data.seen("new")]
    assert seen[1] == seen[2] == seen[0] | {"fresh"}
    assert seen[3] == set()


def test_without_a_time_column_the_rows_are_in_order(tmp_path):
    pl.DataFrame({"who": [0] * 40, "what": [f"{i % 7}" for i in range(40)]}).write_csv(tmp_path / "inter.csv")
    data = built(tmp_path, time=None)
    batch = whole(data.stores["test"])
    names = data.item_names("test")
    assert batch.index.tolist() == [36, 37, 38, 39]
    assert [names[t - 1] for t in batch.query["history"][0] if t] == [f"{i % 7}" for i in range(36)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": "whom"}, "no column 'whom'; did you mean 'who'"),
        ({"users_path": "side.csv"}, r"side.csv: column 'who': an id occurs more than once: rows 1, 3"),
        ({"items_path": "side.csv"}, r"side.csv: no column 'what'"),
        ({"time": "rating"}, r"inter.csv: column 'rating': the time is missing: row 2"),
        ({"item": "gap"}, r"inter.csv: column 'gap': the id is missing: row 1"),
        ({"path": "none.csv"}, "none.csv: no such file"),
        ({"split": "last", "user": "unique"}, "users with three interactions or more"),
    ],
)
def test_bad_input_is_named(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    frame = random_file(tmp_path, rows=20).with_row_index("unique")
    rating = pl.when(pl.col("unique") == 1).then(None).otherwise(pl.col("rating"))
    gap = pl.when(pl.col("unique") == 0).then(None).otherwise(pl.col("what"))
    frame.with_columns(rating.alias("rating"), gap.alias("gap")).write_csv("inter.csv")
    pl.DataFrame({"who": [1, 2, 1], "age": [3, 4, 5]}).write_csv("side.csv")
    with pytest.raises(DataError, match=message):
        module(tmp_path, path=change.pop("path", "inter.csv"), **change).setup()


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="history_length"):
        InteractionsDataModule(path="a", user="u", item="i", history_length=0)
    with pytest.raises(ValueError, match="split must be"):
        InteractionsDataModule(path="a", user="u", item="i", split="random")
