"""What a user took before is left out of the search: in metrics, in references, and in predictions."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import polars as pl
import pytest

from tests.system.conftest import Command

ITEMS = "abcd"
# Users of all orders of the four items at one second: whichever the model, only the item of test is left for test.
ORDERED = {f"o{n}": list(zip(order, [5, 5, 5, 5])) for n, order in enumerate(permutations(ITEMS))}
# Users whose item of test is their first one again: no search shows it.
REPEATING = {
    f"r{n}": list(zip([*order, order[0]], [1, 2, 3, 4]))
    for n, order in enumerate(list(permutations(ITEMS, 3))[::3])
}
REMAINING = {user: (set(ITEMS) - {item for item, _ in rows}).pop() for user, rows in REPEATING.items()}


def write(path: str, rows: list[tuple[str, str, int]]) -> None:
    pl.DataFrame(rows, schema=["user", "item", "when"], orient="row").write_csv(path)


@pytest.fixture
def run(mlfund: Command) -> dict:
    takes = {**ORDERED, **REPEATING}
    write("takes.csv", [(user, item, when) for user, rows in takes.items() for item, when in rows])
    outcome = mlfund(
        "train", "task=retrieval", "data=interactions", "data.path=takes.csv", "data.user=user", "data.item=item",
        "data.time=when", "data.split=last", "trainer.max_epochs=1", "logger=none",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "taken before, so not found: 8 of test (data.exclude_seen=false keeps them)" in outcome.err
    return outcome.json


def test_metrics_and_references_search_among_what_is_left(run: dict) -> None:
    assert len(ORDERED) == 24 and len(REPEATING) == 8
    for metrics in (run["test"], run["references"]["random"], run["references"]["popularity"]):
        for name in ("recall@1", "recall@10", "recall@100", "mrr@10", "ndcg@10"):
            assert metrics[name]["value"] == 24 / 32, name
    predictions = pl.read_parquet(Path(run["run"]) / "predictions" / "test.parquet")
    assert sorted(predictions["rank"]) == [1] * 24 + [5] * 8


def test_predictions_are_among_what_is_left(run: dict, mlfund: Command) -> None:
    # At the second of their four items, users have taken them; a second before, nothing.
    users = ["o0", "o0", *REPEATING]
    rows = [(user, "a", when) for user, when in zip(users, [5, 4, *[9] * 8])]
    write("asked.csv", rows)
    outcome = mlfund("predict", f"run={run['run']}", "data.path=asked.csv", "output=best.csv")
    assert outcome.code == 0, outcome.err
    best = pl.read_csv("best.csv")
    assert best["row"].to_list() == [1] * 4 + list(range(2, 10))
    assert sorted(best["item"][:4]) == list(ITEMS) and best["rank"][:4].to_list() == [1, 2, 3, 4]
    assert best["item"][4:].to_list() == [REMAINING[user] for user in REPEATING]
    assert best["rank"][4:].to_list() == [1] * 8


def test_a_new_file_is_evaluated_in_the_same_way(run: dict, mlfund: Command) -> None:
    # The remaining item is found, another is a miss; what a new file says of the same second is not known yet.
    found = [(user, item, 4) for user, item in REMAINING.items()]
    missed = [(user, REPEATING[user][1][0], 4) for user in REPEATING]
    write("later.csv", found + missed)
    outcome = mlfund("evaluate", f"run={run['run']}", "data.path=later.csv")
    assert outcome.code == 0, outcome.err
    values = outcome.json["metrics"]
    assert values["recall@1"]["value"] == values["recall@100"]["value"] == 0.5
