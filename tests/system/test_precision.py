"""Whole models in half and double precision: they train, and are evaluated and predicted with as they were measured."""

from __future__ import annotations

import pytest

from lit_mlfund.data.sources.small_tables import breast_cancer
from tests.system.conftest import Command

QUICK = ("references=false", "logger=none", "doctor.rows=64", "trainer.max_epochs=2")


@pytest.mark.parametrize(
    ("precision", "tolerance", "options"),
    [
        ("bf16-true", 0.05, ("task=binary", "data=breast_cancer", "model=tabm")),
        ("64-true", 1e-3, ("task=binary", "data=breast_cancer", "model=linear")),
        ("64-true", 1e-3, ("task=regression", "data=diabetes", "model=linear")),
    ],
)
def test_weights_of_another_precision(
    mlfund: Command, precision: str, tolerance: float, options: tuple[str, ...]
) -> None:
    single = mlfund("train", *options, *QUICK)
    run = mlfund("train", *options, *QUICK, f"trainer.precision={precision}")
    assert run.code == 0, run.err
    for name, entry in run.json["test"].items():
        if precision == "64-true" or name == "auroc":  # 8 bits of a weight move probabilities more than ranks
            expected = single.json["test"][name]["value"]
            assert entry["value"] == pytest.approx(expected, rel=tolerance, abs=tolerance), name
    again = mlfund("evaluate", f"run={run.json['run']}")
    assert again.code == 0, again.err
    for name, entry in run.json["test"].items():
        assert again.json["metrics"][name]["value"] == pytest.approx(entry["value"], rel=1e-3)
    if options[0] == "task=binary":
        breast_cancer().head(9).write_csv("new.csv")
        predicted = mlfund("predict", f"run={run.json['run']}", "data.path=new.csv")
        assert predicted.code == 0 and predicted.json["rows"] == 9, predicted.err


def test_replicas_and_fixes_of_another_precision(mlfund: Command) -> None:
    """Evaluated beside the Trainer, too."""
    regression = ("task=regression", "data=diabetes", "model=linear", "trainer.precision=bf16-true")
    parts = mlfund("decompose", *regression, "decompose.replicas=3", "trainer.max_epochs=2")
    assert parts.code == 0 and parts.json["status"] == "done", parts.err
    slow = (
        "task=binary",
        "data=breast_cancer",
        "model=linear",
        "optim.lr=1e-5",
        "logger=none",
        "trainer.max_epochs=4",
    )
    run = mlfund("train", *slow, "trainer.precision=64-true").json["run"]
    verified = mlfund("doctor", f"run={run}", "verify=true")
    assert verified.code == 0 and verified.json["verified"]["closed"], verified.err
