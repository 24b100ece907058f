"""Findings: each rule fires on what it is for, and on nothing whose intervals overlap."""

from __future__ import annotations

import math
from typing import Any

from lit_mlfund.diagnostics import verdict


def value(center: float, half: float = 0.01) -> dict[str, float]:
    return {"value": center, "low": center - half, "high": center + half}


def names(
    test: float = 0.7,
    val: float = 0.7,
    references: dict[str, float] | None = None,
    history: list[float] | None = None,
    mode: Any = "max",
) -> list[str]:
    found = verdict.findings(
        "auroc",
        mode,
        {"val": {"auroc": value(val)}, "test": {"auroc": value(test)}},
        {name: {"test": {"auroc": value(at)}} for name, at in (references or {}).items()},
        [{"epoch": epoch, "val/auroc": at} for epoch, at in enumerate(history or [], 1)],
        max_epochs=len(history or []) or 10,
    )
    return [finding.name for finding in found]


def test_nothing_is_wrong() -> None:
    assert names(references={"constant": 0.5, "linear": 0.65, "gradient_boosting": 0.705}) == []


def test_a_reference_is_better_beyond_both_intervals() -> None:
    assert names(references={"constant": 0.5, "linear": 0.73}) == ["worse_than_reference"]
    assert names(references={"constant": 0.5, "linear": 0.715}) == []
    assert names(references={"linear": 0.65}, mode="min") == ["worse_than_reference"]


def test_no_better_than_a_constant() -> None:
    assert names(test=0.51, val=0.51, references={"constant": 0.5}) == ["no_signal"]


def test_validation_promises_more() -> None:
    assert names(test=0.65, val=0.7) == ["validation_promises_more"]
    assert names(test=0.75, val=0.7) == []


def test_stopped_while_improving() -> None:
    assert names(history=[0.5, 0.6, 0.7]) == ["stopped_while_improving"]
    assert names(history=[0.5, 0.699, 0.7]) == []
    assert names(history=[0.7, 0.701, 0.702]) == []  # within the noise


def test_findings_are_plain() -> None:
    finding = verdict.diverged("the loss is nan").to_dict()
    assert finding["severity"] == "error" and finding["fixes"]


def test_a_perfect_metric() -> None:
    """Its interval has no width and nothing improves: no finding, and no division by zero."""
    perfect = {"value": 1.0, "low": 1.0, "high": 1.0}
    splits = {"val": {"m": perfect}, "test": {"m": perfect}}
    history = [{"val/m": 1.0}] * 3
    for mode in ("max", "min"):
        assert verdict.findings("m", mode, splits, {}, history, 3) == []


def test_a_metric_that_is_undefined_is_a_finding_of_its_own() -> None:
    hole = {"value": math.nan, "low": math.nan, "high": math.nan}
    fine = {"value": 0.7, "low": 0.6, "high": 0.8}
    history = [{"val/m": math.nan}] * 3
    (finding,) = verdict.findings(
        "m", "max", {"val": {"m": fine}, "test": {"m": hole}}, {"constant": {"test": {"m": hole}}}, history, 3
    )
    assert finding.name == "undefined_metric"
    assert finding.symptom.startswith("test/m cannot be computed")


def test_an_undefined_metric_that_is_not_monitored_is_told_too() -> None:
    hole = {"value": math.nan, "low": math.nan, "high": math.nan}
    fine = {"value": 0.7, "low": 0.6, "high": 0.8}
    splits = {"val": {"a": fine, "m": fine, "z": fine}, "test": {"a": hole, "m": fine, "z": hole}}
    (finding,) = verdict.findings("m", "min", splits, {}, [{"val/m": 0.7}], 3)
    assert finding.name == "undefined_metric"
    assert finding.symptom.startswith("test/a cannot be computed")
