"""What a run was made on, in words."""

from __future__ import annotations

from typing import Any

import pytest

from lit_mlfund.reports.data_text import budget_text, size_text, target_text

CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "two classes": (
        "binary",
        {"target": {"column": "sick", "classes": {"no": 30, "yes": 10}}},
        "sick, 1 is 'yes': 25.0 % of train",
    ),
    "a rare class": (
        "binary",
        {"target": {"column": "y", "classes": {"0": 99_999, "1": 1}}},
        "y, 1 is '1': 0.001 % of train",
    ),
    "three classes": (
        "multiclass",
        {"target": {"column": "kind", "classes": {"a": 5, "b": 75, "c": 20}}},
        "kind, 3 classes: from 5.0 % ('a') to 75.0 % ('b') of train",
    ),
    "a number": (
        "regression",
        {"target": {"column": "price", "mean": 3932.799, "std": 0.5}},
        "price, mean 3933, standard deviation 0.5 in train",
    ),
    "grades": (
        "ranking",
        {"target": {"column": "relevance", "grades": {"0": 3, "1": 1}}},
        "relevance, grades 0: 75.0 %, 1: 25.0 % of train",
    ),
    "items": ("retrieval", {"items": 1682, "users": 943}, "the next item: 1,682 items, 943 users"),
    "characters": (
        "multiclass",
        {"target": {"column": "next character", "classes": 98}},
        "next character, 98 classes",
    ),
    "nothing said": ("multiclass", {}, ""),
    "nothing counted": ("multiclass", {"target": {"column": "y", "classes": {}}}, "y"),
}


@pytest.mark.parametrize("case", CASES)
def test_target(case: str) -> None:
    task, data, text = CASES[case]
    assert target_text(task, data).replace("\u00a0", " ") == text


def test_sizes() -> None:
    data = {"rows": {"train": 2800, "val": 60}, "queries": {"train": 40, "val": 6}}
    assert size_text(data) == "train 2,800  val 60 rows"
    assert size_text(data, "queries") == "train 40  val 6 queries"
    assert size_text({}) == ""


def test_the_length_of_a_training() -> None:
    plan = {"steps": 1056, "epochs": 32, "batches": 33, "batch_size": 256}
    assert budget_text(plan) == "1,056 steps: 32 epochs of 33 batches of 256"
    assert budget_text(dict.fromkeys(plan, 1)) == "1 step: 1 epoch of 1 batch of 1"
