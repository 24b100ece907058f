"""Claims against made-up runs: what holds, what does not, and what is undecided."""

from __future__ import annotations

import math

import pytest

from lit_mlfund.sweeps.claims.claim import Claim, _at_edge, verdict
from lit_mlfund.sweeps.claims.expectations import Expectation
from lit_mlfund.sweeps.claims.records import Evidence, Record


def record(loss: str, lr: str, seed: int, value: float, failed: bool = False) -> Record:
    metrics = {
        "objective": {"value": value, "mode": "min"},
        "splits": {"test": {"mae": {"value": value, "low": value, "high": value}}},
        "numbers": {"weights/norm": 2 * value},
        "steps": [{"step": 10, "train/loss": 3.0}, {"step": 20, "train/loss": None if failed else 1.0}],
        "history": [{"step": 20, "val/loss": 5.0}],
    }
    return Record({"loss": loss, "optim.lr": lr, "seed": str(seed)}, failed, metrics, 1.5)


RECORDS = [
    record(loss, lr, seed, value + 0.1 * seed + 0.01 * (seed == 1) * (loss == "mse"))
    for (loss, lr), value in {
        ("mse", "0.1"): 2.0,
        ("mse", "0.01"): 1.0,
        ("mae", "0.1"): 0.5,
        ("mae", "0.01"): 3.0,
    }.items()
    for seed in range(3)
]
COMPARE = ["loss", "optim.lr"]


def outcome(line: str, records: list[Record] = RECORDS, choose: str | None = None) -> str:
    return Expectation.parse(line, COMPARE).judge(Evidence(records, COMPARE, choose)).outcome


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("test/mae: loss=mse optim.lr=1e-2 < loss=mae optim.lr=0.01", "holds"),
        ("test/mae: loss=mse optim.lr=0.1 < loss=mae optim.lr=0.1", "contrary"),
        ("test/mae: loss=mse optim.lr=0.1 > loss=mse optim.lr=0.01", "holds"),
        ("test/mae: loss=mse optim.lr=0.1 < 2.1", "no difference beyond chance"),
        ("test/mae: loss=mse optim.lr=0.1 < loss=mse optim.lr=0.01 * 3", "holds"),
        ("test/mae: loss=mse optim.lr=0.1 < loss=mse optim.lr=0.01 + 0.5", "contrary"),
        ("test/mae: loss=mse < loss=mae", "holds"),  # means over the rates: 1.5 and 1.75
        ("weights/norm - test/mae: loss=mse optim.lr=0.1 > 1", "holds"),
        ("test/rmse: loss=mse < loss=mae", "not measured"),
        ("test/mae: loss=huber < loss=mae", "not measured"),
        ("spread of test/mae: optim.lr > loss", "no difference beyond chance"),  # 1.75 each
        ("failed: loss=mse < 0.5", "holds"),
    ],
)
def test_a_line_is_held_against_the_runs(line: str, expected: str) -> None:
    assert outcome(line) == expected


def test_each_setting_gets_the_rate_that_is_best_on_validation() -> None:
    evidence = Evidence(RECORDS, COMPARE, choose="optim.lr")
    assert evidence.chosen == {("mse",): "0.01", ("mae",): "0.1"}
    assert outcome("test/mae: loss=mae < loss=mse", choose="optim.lr") == "holds"
    failing = [*RECORDS, record("mae", "0.1", 3, 0.1, failed=True)]
    assert Evidence(failing, COMPARE, choose="optim.lr").chosen[("mae",)] == "0.01"


@pytest.mark.parametrize(
    ("chosen", "expected"), [("0.1", True), ("0.01", False), ("1e-3", True), ("0", False), ("adamw", False)]
)
def test_a_chosen_value_at_the_end_of_what_was_tried_is_marked(chosen: str, expected: bool) -> None:
    levels = {"0": ["0", "1"], "adamw": ["adamw", "sgd"]}.get(chosen, ["0.001", "0.01", "0.1"])
    assert _at_edge(chosen, levels) == expected


def test_what_is_chosen_by_is_the_value_at_the_measured_checkpoint() -> None:
    metrics = {
        "objective": {"name": "val/mae", "value": 1.0, "mode": "min"},
        "splits": {"val": {"mae": {"value": 3.0}}},
    }
    assert Record({}, False, metrics).value("objective") == 3.0
    assert Record({}, False, {"objective": {"name": "val/loss", "value": 1.0}}).value("objective") == 1.0


def test_settings_in_words() -> None:
    plain = Evidence(RECORDS, COMPARE)
    assert (
        plain.key_label("optim.lr") == "learning rate" and plain.key_label("model.some_width") == "some width"
    )
    assert plain.label(("mse", "0.1")) == "mse, learning rate 0.1"
    assert plain.label(("a_loss", "0.1"), without=("optim.lr",)) == "a loss"
    named = Evidence(RECORDS, COMPARE, labels={"optim.lr": "rate", "loss=mse": "squares"})
    assert (
        named.label(("mse", "0.1")) == "squares, rate 0.1" and named.label(("mae", "0.1")) == "mae, rate 0.1"
    )


def test_numbers_by_seed_and_setting() -> None:
    evidence = Evidence(RECORDS, COMPARE)
    assert evidence.seeds == ["0", "1", "2"] and evidence.levels("optim.lr") == ["0.1", "0.01"]
    assert evidence.matching({"optim.lr": "1e-1"}) == [("mse", "0.1"), ("mae", "0.1")]
    means = evidence.by_seed(evidence.matching({"loss": "mae"}), "test/mae")
    assert means == pytest.approx({"0": 1.75, "1": 1.85, "2": 1.95})
    assert evidence.numbers(("mae", "0.1"), "test/mae") == pytest.approx([0.5, 0.6, 0.7])
    assert evidence.numbers(("mae", "0.1"), "test/none") == []


def test_numbers_of_a_run() -> None:
    run = record("mse", "0.1", 0, 2.0, failed=True)
    wanted = {
        "last/val/loss": 5.0,
        "max/train/loss": 3.0,
        "best/train/loss": 3.0,
        "failed": 1.0,
        "seconds": 1.5,
    }
    assert {name: run.value(name) for name in wanted} == wanted
    assert math.isnan(run.value("last/train/loss"))  # it ended with no number
    assert run.curve("train/loss")[0] == [10, 20]
    assert math.isnan(run.value("test/none"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("test/mae: loss=mse", "expected `value: key=a … < key=b …`"),
        ("test/mae: los=mse < loss=mae", "los is not compared; there is loss, optim.lr"),
        ("spread of test/mae: optim.lr > seed", "seed is not compared"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_at_once(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=".*" + message.replace("…", ".")):
        Claim("it is so", COMPARE, ["test/mae"], [line], [])


def test_the_verdict_is_that_of_all_lines() -> None:
    good, bad = "test/mae: loss=mse < loss=mae", "test/mae: loss=mse > loss=mae"
    evidence = Evidence(RECORDS, COMPARE)
    verdicts = [
        verdict(Claim("so", COMPARE, [], lines, []).judge(evidence)) for lines in ([good], [good, bad], [bad])
    ]
    assert [text.split(" on ")[0] for text in verdicts] == ["holds", "holds in part", "does not hold"]
