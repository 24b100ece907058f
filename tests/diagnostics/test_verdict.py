"""Findings: each rule fires on what it is for, names the cause, and is silent on what is healthy."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from lit_mlfund.atomic import to_json
from lit_mlfund.diagnostics.evidence import Calibration, Checks, Evidence, Layer, Measure, NonFinite
from lit_mlfund.diagnostics.finding import changed_data
from lit_mlfund.diagnostics.verdict import verdict

MODES = {"auroc": "max", "log_loss": "min", "accuracy": "max"}


def near(center: float, half: float = 0.01) -> Measure:
    return Measure(center, center - half, center + half)


def run(**changes: Any) -> Evidence:
    """A sound training of a network that is as good as its best reference."""
    references = {"constant": (0.5, 0.69), "linear": (0.75, 0.58), "gradient_boosting": (0.8, 0.52)}
    model = changes.pop("model", (0.8, 0.52))
    train = changes.pop("train", (0.82, 0.50))
    values = dict(zip(references, references.values())) | changes.pop("references", {})

    def gain(a: tuple[float, float], b: tuple[float, float], half: float = 0.005) -> dict[str, Measure]:
        return {"auroc": near(a[0] - b[0], half), "log_loss": near(b[1] - a[1], half)}

    known = {
        "task": "binary",
        "monitor": "auroc",
        "directions": MODES,
        "settings": {
            "optim.lr": 1e-3,
            "trainer.max_epochs": 5,
            "model.hidden": [8],
            "model.dropout": 0.1,
            "model": "MLP",
        },
        "rows": {"test": 2000},
        "splits": {
            split: {"auroc": near(model[0]), "log_loss": near(model[1]), "accuracy": near(0.7)}
            for split in ("val", "test")
        },
        "training": {"auroc": near(train[0]), "log_loss": near(train[1])},
        "initial": {"loss": 0.7, "log_loss": 0.7},
        "references": {name: {"auroc": near(v[0]), "log_loss": near(v[1])} for name, v in values.items()},
        "gains": {name: gain(model, v) for name, v in values.items()},
        "floor_gains": {
            name: gain(v, values["constant"]) for name, v in values.items() if name != "constant"
        },
        "history": [
            {"val/auroc": v, "train/loss": t}
            for v, t in zip((0.7, 0.79, 0.8, 0.8, 0.8), (0.6, 0.53, 0.52, 0.52, 0.52))
        ],
        "updates": [0.01] * 8,
        "layers": [Layer("body.0", True, gradient=1.0, update=0.01, moved=0.8, shrunk=1.2)],
    }
    return Evidence(**{**known, **changes})


def named(evidence: Evidence, *severities: str) -> list[str]:
    chosen = severities or ("warning", "error")
    again = Evidence.from_dict(json.loads(to_json(evidence.to_dict())))
    assert to_json(again.to_dict()) == to_json(evidence.to_dict())
    found = verdict(again)
    assert to_json([f.to_dict() for f in found]) == to_json([f.to_dict() for f in verdict(again)])
    return [finding.name for finding in found if finding.severity in chosen]


def test_a_healthy_run() -> None:
    (finding,) = verdict(run())
    assert (finding.name, finding.severity) == ("healthy", "info")
    assert "2 of 3 metrics" in finding.symptom


def test_better_than_the_constant_only_in_the_paired_interval() -> None:
    """The intervals of both overlap, that of the difference does not."""
    wide = {"auroc": near(0.6, 0.2), "log_loss": near(0.6, 0.2)}
    sound = run(splits={"val": wide, "test": wide}, model=(0.8, 0.52))
    assert named(sound) == []


def test_boosting_is_better() -> None:
    finding = verdict(run(model=(0.7, 0.58), train=(0.71, 0.57)))[0]
    assert finding.name == "too_small" and finding.severity == "warning"
    assert "gradient_boosting is better in test/auroc by 0.1 (0.095 … 0.105, paired)" in finding.symptom
    gain = finding.evidence["gain over gradient_boosting, test/auroc"]
    assert gain["value"] == pytest.approx(-0.1) and gain["share"] == pytest.approx(1 / 3)
    assert finding.fixes == ["model.hidden=[32]"]


def test_boosting_is_better_by_little() -> None:
    evidence = run(model=(0.794, 0.523))
    assert named(evidence) == []
    finding = verdict(evidence)[0]
    assert finding.name == "features_carry_no_more" and "0.006" in finding.symptom


def test_rows_learned_by_heart() -> None:
    finding = verdict(run(model=(0.62, 0.9), train=(1.0, 0.01), settings={"checkpoint": "last"}))[0]
    assert finding.name == "overfitting"
    assert finding.fixes[0] == "checkpoint=best"


def test_a_perfect_fit_that_generalises() -> None:
    assert named(run(model=(0.9, 0.4), train=(1.0, 0.01))) == []
    assert named(run(model=(0.9, 0.4), train=(1.0, 0.01)), "info") == ["limited_by_data"]


def test_log_loss_worse_than_the_constant_although_it_ranks_well() -> None:
    calibration = Calibration(4.0, near(0.8, 0.01), near(0.3), 0.05)
    evidence = run(model=(0.8, 1.34), train=(0.81, 1.3), calibration=calibration)
    finding = verdict(evidence)[0]
    assert finding.name == "over_confident" and "test/log_loss is worse than the constant" in finding.symptom
    without = verdict(dataclasses.replace(evidence, calibration=None))[0]
    assert without.severity == "warning" and "test/log_loss is worse than the constant" in without.symptom


def test_overconfidence_follows_from_overfitting() -> None:
    calibration = Calibration(4.0, near(0.8, 0.01), near(0.3), 0.05)
    found = verdict(run(model=(0.62, 1.34), train=(1.0, 0.01), calibration=calibration))
    assert [finding.name for finding in found][:2] == ["overfitting", "over_confident"]
    assert found[1].severity == "info" and found[1].evidence["because_of"] == "overfitting"


NOTHING = {"linear": (0.5, 0.69), "gradient_boosting": (0.497, 0.692)}


def test_no_signal_needs_all_to_find_none() -> None:
    none = run(model=(0.5, 0.69), train=(0.505, 0.69), references=NOTHING)
    assert named(none) == ["no_signal"]
    learned = run(model=(0.5, 0.69), train=(0.9, 0.3), references=NOTHING)
    assert "no_signal" not in named(learned, "error", "warning", "info")
    one = run(model=(0.5, 0.69), train=(0.505, 0.69))
    assert "no_signal" not in named(one, "error", "warning", "info")
    few = dataclasses.replace(none, rows={"test": 50})
    assert named(few) == [] and named(few, "info") == ["inconclusive"]


BEHIND: dict[str, Any] = {"model": (0.6, 0.66), "train": (0.61, 0.65)}


@pytest.mark.parametrize(
    ("changes", "name", "fix"),
    [
        ({"updates": [0.4] * 8}, "learning_rate_too_high", "optim.lr=0.0001"),
        (
            {"layers": [Layer("body.0", True, 1.0, 1e-5, 0.001, 1.0)]},
            "learning_rate_too_low",
            "optim.lr=0.01",
        ),
        (
            {"layers": [Layer("body.0", False), Layer("head", True, 1.0, 0.01, 0.8, 1.0)]},
            "frozen_parameters",
            None,
        ),
        ({"checks": Checks(dead={"body.1": 0.95})}, "dead_units", "optim.lr=0.0001"),
        (
            {"layers": [Layer("a", True, 1e-9, 1e-4, 0.1, 1.0), Layer("b", True, 1.0, 0.01, 0.8, 1.0)]},
            "vanishing_gradients",
            None,
        ),
        (
            {"history": [{"val/auroc": 0.5 + 0.02 * i, "train/loss": 0.7 - 0.01 * i} for i in range(5)]},
            "stopped_too_early",
            "trainer.max_epochs=15",
        ),
        (
            {"settings": {"model.dropout": 0.9, "trainer.max_epochs": 5, "optim.lr": 1e-3}},
            "over_regularised",
            "model.dropout=0.1",
        ),
        (
            {
                "history": [{"val/auroc": 0.6, "train/loss": 0.6}],
                "losses": [{"step": 10 * i, "train/loss": 0.7 - 0.01 * i} for i in range(1, 9)],
                "settings": {"trainer.max_epochs": 1},
            },
            "stopped_too_early",
            "trainer.max_epochs=3",
        ),
        ({"checks": Checks(raw_low=0.2, raw_high=0.8, on_logits=True)}, "double_softmax", None),
        ({"checks": Checks(repeated=0.3)}, "validation_in_training_mode", None),
        ({"batch_spread": 40.0}, "data_not_shuffled", None),
        ({"checks": Checks(scales={"a": 1e6, "b": 1.0})}, "wild_feature_scale", None),
    ],
)
def test_causes_are_told_apart(changes: dict[str, Any], name: str, fix: str | None) -> None:
    found = verdict(run(**BEHIND, **changes))
    assert found[0].name == name and found[0].severity == "warning"
    assert fix is None or found[0].fixes[0] == fix


@pytest.mark.parametrize(
    ("steps", "name", "fix"),
    [
        (50.0, "stopped_too_early", "trainer.max_epochs=15"),
        (5000.0, "learning_rate_too_low", "optim.lr=0.003"),
    ],
)
def test_less_than_a_linear_model_is_no_lack_of_capacity(steps: float, name: str, fix: str) -> None:
    settings = {"optim.lr": 1e-3, "trainer.max_epochs": 5, "steps": steps}
    found = verdict(run(**BEHIND, settings=settings))
    assert found[0].name == name and found[0].fixes[0] == fix and "too_small" in found[0].ruled_out


def test_a_linear_model_lacks_most_of_what_boosting_finds() -> None:
    weak = {"linear": (0.62, 0.64)}
    settings = {"model": "Linear", "trainer.max_epochs": 5, "optim.lr": 1e-3, "steps": 50.0}
    found = verdict(run(model=(0.6, 0.66), train=(0.61, 0.655), references=weak, settings=settings))
    assert found[0].name == "too_small" and found[0].fixes == ["model=mlp"]


def test_a_linear_model_that_reached_its_limit_is_too_small() -> None:
    """However the training loss still falls."""
    falling = [{"val/auroc": 0.5 + 0.02 * i, "train/loss": 0.7 - 0.01 * i} for i in range(5)]
    settings = {"model": "Linear", "trainer.max_epochs": 5, "optim.lr": 1e-3}
    linear = {"linear": (0.6, 0.66)}
    found = verdict(run(**BEHIND, references=linear, settings=settings, history=falling))
    assert found[0].name == "too_small"


def test_without_references_there_is_no_ladder() -> None:
    alone = run(references={}, gains={}, floor_gains={})
    assert named(dataclasses.replace(alone, references={})) == []


def test_an_undefined_metric() -> None:
    hole = {"auroc": Measure(math.nan), "log_loss": near(0.5)}
    evidence = run(splits={"val": {"auroc": near(0.8)}, "test": hole})
    finding = verdict(evidence)[0]
    assert finding.name == "undefined_metric" and finding.symptom.startswith("test/auroc cannot be computed")


def test_a_perfect_metric() -> None:
    """Its interval has no width and nothing improves: no finding, and no division by zero."""
    perfect = {"auroc": Measure(1.0, 1.0, 1.0), "log_loss": Measure(0.0, 0.0, 0.0)}
    assert named(run(splits={"val": perfect, "test": perfect}, history=[{"val/auroc": 1.0}] * 5)) == []


def test_a_finding_as_plain_values() -> None:
    assert changed_data(["a.csv has changed", "b.csv is gone"]).to_dict() == {
        "name": "changed_data",
        "severity": "warning",
        "symptom": "a.csv has changed; b.csv is gone.",
        "evidence": {},
        "ruled_out": {
            "figures of other rows": "training and measurement used the rows of the files as they were first read"
        },
        "fixes": [],
        "rows": [],
    }


def test_findings_of_other_parts_are_passed_on() -> None:
    evidence = run(others=[changed_data(["a.csv has changed"]).to_dict()])
    assert named(evidence) == ["changed_data"]


def step(**changes: Any) -> Evidence:
    found = NonFinite(**{"step": 7, "loss": math.nan, "norm": math.nan, **changes})
    return run(nonfinite=found, failure="the training loss is nan")


@pytest.mark.parametrize(
    ("changes", "name", "told"),
    [
        (
            {"phase": "input", "column": "age", "rows": [3]},
            "nonfinite_input",
            "column age is not finite in row 3",
        ),
        ({"phase": "target", "rows": [3, 9]}, "nonfinite_input", "the target is not finite in rows 3, 9"),
        (
            {"phase": "forward", "operation": "log", "layer": "loss", "zero": True, "rows": [5]},
            "log_of_zero",
            "a logarithm of zero in log in loss (forward pass) at row 5 of the file",
        ),
        (
            {"phase": "forward", "operation": "div", "layer": "model", "zero": True},
            "division_by_zero",
            "division by zero",
        ),
        (
            {"phase": "backward", "operation": "sqrt", "layer": "model", "zero": True},
            "sqrt_at_zero",
            "backward pass",
        ),
        ({"phase": "forward", "operation": "log", "negative": True}, "log_of_zero", "of a negative number"),
        (
            {"phase": "forward", "operation": "pow", "largest": 1e25, "largest_column": "big"},
            "wild_feature_scale",
            "column big has a value of 1e+25",
        ),
        (
            {"phase": "forward", "operation": "addmm", "overflow": True},
            "exploding_gradients",
            "lower optim.lr",
        ),
        ({}, "exploding_gradients", "lower optim.lr"),
    ],
)
def test_causes_of_a_stop(changes: dict[str, Any], name: str, told: str) -> None:
    (finding,) = verdict(step(**changes))
    assert finding.name == name and finding.severity == "error"
    assert told in finding.symptom and "at step 7; the step was not taken" in finding.symptom


def test_evidence_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="format 99 is not known"):
        Evidence.from_dict({"format": 99})
    with pytest.raises(ValueError, match="damaged"):
        Evidence.from_dict({"format": 1, "task": "binary"})


def test_an_undefined_metric_that_is_not_monitored_is_told_too() -> None:
    hole, fine = Measure(math.nan, math.nan, math.nan), Measure(0.7, 0.6, 0.8)
    splits = {
        "val": {"auroc": fine, "accuracy": fine, "f1": fine},
        "test": {"auroc": fine, "accuracy": hole, "f1": hole},
    }
    (finding,) = [part for part in verdict(run(splits=splits)) if part.name == "undefined_metric"]
    assert finding.symptom.startswith("test/accuracy cannot be computed")


def test_gradients_that_are_not_zeroed() -> None:
    assert named(run(leftover=0.0)) == []
    assert named(run(leftover=2.0)) == ["gradients_not_zeroed"]


def test_waiting_for_batches() -> None:
    assert named(run(loading={"waited": 20.0, "worked": 21.0})) == []
    assert named(run(loading={"waited": 4.0, "worked": 1.0})) == []  # of no use to hurry
    one, two = (run(loading={"waited": waited, "worked": 10.0}) for waited in (20.0, 21.0))
    assert named(one) == ["data_loader_bottleneck"]
    assert [f.to_dict() for f in verdict(one)] == [
        f.to_dict() for f in verdict(two)
    ]  # no seconds: a repeat is equal


@pytest.mark.parametrize("share, expected", [(0.95, ["class_imbalance"]), (0.6, ["stopped_too_early"])])
def test_accuracy_that_cannot_choose(share: float, expected: list[str]) -> None:
    losses = (0.3, 0.2, 0.15, 0.12, 0.12)
    blind = run(
        monitor="accuracy",
        model=(0.7, 0.6),
        train=(0.7, 0.6),
        history=[
            {"val/accuracy": 0.7, "val/log_loss": loss, "val/auroc": 0.7, "train/loss": loss}
            for loss in losses
        ],
    )
    constant = {"constant": blind.references["constant"] | {"accuracy": near(share)}}
    blind = dataclasses.replace(
        blind, references=blind.references | constant, settings=blind.settings | {"checkpoint": "best"}
    )
    assert named(blind)[:1] == expected
    if expected == ["class_imbalance"]:
        (finding, *_) = verdict(blind)
        assert finding.evidence["epochs"] == {"chosen": 1, "by log loss": 4}
        assert finding.fixes == ["monitor=val/log_loss", "monitor=val/auroc"]
