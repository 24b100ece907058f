"""Findings on data: what costs is a warning, what does not is none, and the cause comes before what follows from it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lit_mlfund.diagnostics.evidence import Evidence, Measure
from lit_mlfund.diagnostics.measures.data_evidence import (
    ColumnShift,
    Cost,
    DataEvidence,
    Duplicates,
    Filled,
    Heavy,
    Labels,
    Noise,
    Overlap,
    Strength,
    Unit,
    Unseen,
)
from lit_mlfund.diagnostics.verdict import verdict
from tests.diagnostics.test_verdict import named, near, run

SURE, NOTHING, UNKNOWN = near(0.2, 0.05), near(0.0, 0.05), Measure(math.nan)
SHIFT = ColumnShift("a", "test", 1e-9, 0.8, 0.05)


def data(task: str = "binary", **changes: Any) -> DataEvidence:
    return DataEvidence(task, floor=0.69, held_out=0.7, **changes)


def cost(
    total: Measure, features: Measure, relation: Measure, auroc: float = 0.9, effective: float = 300.0
) -> Cost:
    return Cost("test", total, features, relation, near(auroc), effective)


def copies(gain: Measure, **changes: Any) -> Duplicates:
    known = {
        "exact": 30, "near": 3, "share": 0.3, "kinds": 1.0, "same_target": 1.0, "rows": [7, 9], "copies": [1, 2],
        "clean": near(0.6), "duplicated": near(0.2), "gain": gain, "compared": True,
    }  # fmt: skip
    return Duplicates(**{**known, **changes})


NOISE = Noise(near(0.15, 0.02), 40.0, near(0.14, 0.05), 1000, 90, [3, 5])
LEAK = Strength("status", near(0.95, 0.01), 0.3)
OVERLAP = Overlap("patient", 100, 0.9, 8.0, SURE)
WARNINGS = [
    ("unit_change", {"units": [Unit("a", "test", 1000.0, 5.0, 0.01, SURE)], "columns": [SHIFT]}),
    ("filled_with_default", {"filled": [Filled("a", "test", 0.0, 0.4, 0.0, SURE)]}),
    ("category_unseen", {"unseen": [Unseen("a", "test", 0.3, "x", SURE)]}),
    ("covariate_shift", {"columns": [SHIFT], "costs": [cost(SURE, SURE, NOTHING)]}),
    ("covariate_shift", {"columns": [SHIFT], "costs": [cost(SURE, NOTHING, SURE, effective=3.0)]}),
    ("label_shift", {"labels": [Labels("test", 0.3, 1e-9, SURE)]}),
    ("label_shift", {"by": "files", "costs": [cost(SURE, NOTHING, SURE, auroc=0.5)]}),
    ("time_drift", {"by": "time", "recent": SURE, "costs": [cost(NOTHING, NOTHING, NOTHING, 0.5)]}),
    ("time_drift", {"by": "time", "costs": [cost(SURE, NOTHING, SURE, 0.5)]}),
    ("target_leakage", {"strengths": [LEAK, Strength("b", near(0.2))]}),
    ("row_number_feature", {"counters": [Strength("record", near(0.2))]}),
    ("duplicates_across_splits", {"duplicates": copies(SURE)}),
    ("group_overlap", {"overlaps": [OVERLAP]}),
    ("label_noise", {"noise": NOISE}),
    ("heavy_rows", {"heavy": [Heavy("train", 1000, 3, 120.0, 300.0, [4, 8, 9])]}),
]
SILENT = [
    {"units": [Unit("a", "test", 2.0, 5.0, 0.01, NOTHING)], "columns": [SHIFT]},
    {"filled": [Filled("a", "test", 0.0, 0.4, 0.0, NOTHING)]},
    {"unseen": [Unseen("a", "test", 0.3, "x", NOTHING)]},
    {"columns": [SHIFT], "costs": [cost(NOTHING, NOTHING, NOTHING)]},
    {"columns": [SHIFT], "costs": [cost(SURE, NOTHING, SURE, auroc=0.51)]},
    {"labels": [Labels("test", 0.3, 1e-9, NOTHING)]},
    {"labels": [Labels("test", 0.02, 1e-9, SURE)]},
    {"labels": [Labels("val", 0.3, 1e-9, SURE)]},  # it does not cost on the rows that count
    {"by": "time", "recent": NOTHING, "costs": [cost(NOTHING, NOTHING, NOTHING, 0.5)]},
    {"by": "rows", "costs": [cost(SURE, NOTHING, SURE, 0.5)]},
    {
        "strengths": [Strength("worst area", near(0.7, 0.05), 0.82), Strength("b", near(0.68))]
    },  # as in breast_cancer
    {"strengths": [Strength("a", near(0.95, 0.01), 0.9), Strength("b", near(0.2))]},
    {"strengths": [Strength("a", near(0.95, 0.01))]},  # the only feature
    {"strengths": [Strength("a", near(0.95, 0.01), 0.1, 0.7), Strength("b", near(0.0))]},  # cut in two
    {"counters": [Strength("record", near(0.0))]},
    {"duplicates": copies(NOTHING)},
    {"duplicates": copies(SURE, share=0.005)},
    {"duplicates": copies(SURE, compared=False, same_target=0.7)},
    {"overlaps": [Overlap("patient", 100, 0.9, 8.0, NOTHING)]},
    {"by": "time", "overlaps": [OVERLAP], "costs": [cost(NOTHING, NOTHING, NOTHING, 0.5)]},
    {"noise": Noise(near(0.15, 0.02), 2.0, UNKNOWN, 1000, 90, [3])},
    {"noise": Noise(Measure(0.02, 0.0, 0.05), 40.0, UNKNOWN, 1000, 90, [3])},
    {"noise": Noise(near(0.15, 0.02), 40.0, near(0.0, 0.01), 1000, 90, [3])},  # the model is surer, and right
    {"heavy": [Heavy("train", 1000, 110, 120.0, 300.0)]},
    {"heavy": [Heavy("train", 1000, 3, 120.0, 2.0)]},
    {"heavy": [Heavy("train", 1000, 3, 5.0, 300.0)]},  # positives that are rare and calibrated
]


@pytest.mark.parametrize(("name", "found"), WARNINGS)
def test_what_costs_is_the_first_finding(name: str, found: dict[str, Any]) -> None:
    evidence = run(data=data(**found))
    assert named(evidence)[:1] == [name]
    first = verdict(evidence)[0]
    assert first.severity == "warning" and first.evidence and first.ruled_out
    assert "healthy" not in named(evidence, "info")


@pytest.mark.parametrize("found", SILENT)
def test_what_does_not_cost_is_no_warning(found: dict[str, Any]) -> None:
    evidence = run(data=data(**found))
    assert named(evidence) == []
    assert verdict(evidence)[0].name == "healthy"


@pytest.mark.parametrize(("name", "found"), WARNINGS)
def test_before_training(name: str, found: dict[str, Any]) -> None:
    assert named(Evidence("binary", "auroc", data=data(**found)))[:1] == [name]


def test_numbers_have_another_limit_than_classes() -> None:
    strength = {"strengths": [Strength("distance", near(0.95, 0.01), 0.5), Strength("b", near(0.2))]}
    assert named(run(data=data(**strength))) == ["target_leakage"]
    assert named(run(data=data("regression", **strength))) == []
    strength["strengths"][0] = Strength("distance", near(0.99, 0.001), 0.5)
    assert named(run(data=data("regression", **strength))) == ["target_leakage"]


def test_consequences_follow_their_cause() -> None:
    """Rows learned by heart and a shift of the features are what another unit looks like."""
    behind = {"model": (0.6, 0.75), "train": (0.95, 0.2)}
    assert named(run(**behind)) == ["overfitting"]
    found = {
        "units": [Unit("a", "test", 1000.0, 5.0, 0.01, SURE)],
        "columns": [SHIFT, ColumnShift("b", "test", 1e-9, 0.5, 0.05)],
        "labels": [Labels("test", 0.3, 1e-9, SURE)],
        "costs": [cost(SURE, SURE, NOTHING)],
    }
    evidence = run(**behind, data=data(**found))
    assert named(evidence) == ["unit_change"]
    follow = {f.name: f.evidence["because_of"] for f in verdict(evidence) if "because_of" in f.evidence}
    assert follow == dict.fromkeys(("overfitting", "covariate_shift", "label_shift"), "unit_change")
    assert all(not f.fixes for f in verdict(evidence) if "because_of" in f.evidence)


def test_what_is_harmless_causes_nothing() -> None:
    harmless = {"columns": [SHIFT], "costs": [cost(NOTHING, NOTHING, NOTHING)], "duplicates": copies(NOTHING)}
    assert named(run(model=(0.6, 0.75), train=(0.95, 0.2), data=data(**harmless))) == ["overfitting"]


def test_a_leak_explains_a_validation_that_is_too_good() -> None:
    splits = {
        "val": {"auroc": near(0.99), "log_loss": near(0.1)},
        "test": {"auroc": near(0.8), "log_loss": near(0.52)},
    }
    plain = run(splits=splits)
    assert "inconclusive" in named(plain, "info")
    found = verdict(run(splits=splits, data=data(strengths=[LEAK, Strength("b", near(0.2))])))
    assert found[0].name == "target_leakage" and "inconclusive" not in [finding.name for finding in found[:1]]


def test_fixes_keep_what_is_left_out_already() -> None:
    found = data(excluded=["id"], strengths=[LEAK, Strength("b", near(0.2))])
    assert verdict(run(data=found))[0].fixes == ["data.exclude=[id,status]"]
    assert verdict(run(data=data(overlaps=[OVERLAP])))[0].fixes == ["data.group=patient"]
    noisy = run(data=data(noise=NOISE), settings={"loss": "BinaryCrossEntropyLoss"})
    assert verdict(noisy)[0].fixes == ["loss.label_smoothing=0.1"] and verdict(noisy)[0].rows == [3, 5]
    heavy = data("regression", heavy=[Heavy("train", 1000, 3, 120.0, 300.0, [4, 8, 9])])
    assert verdict(run(data=heavy, settings={"loss": "MSELoss"}))[0].fixes == ["loss=huber"]


def test_many_kinds_of_rows_and_few() -> None:
    assert named(run(data=data(duplicates=copies(NOTHING))), "info")[-1] == "duplicates_across_splits"
    assert "duplicates_across_splits" not in named(
        run(data=data(duplicates=copies(NOTHING, kinds=0.2))), "info"
    )
    before = copies(UNKNOWN, clean=UNKNOWN, duplicated=UNKNOWN, copied=SURE, compared=False)
    assert named(Evidence("binary", "auroc", data=data(duplicates=before))) == ["duplicates_across_splits"]
    easy = copies(UNKNOWN, clean=UNKNOWN, duplicated=UNKNOWN, copied=NOTHING)
    assert named(Evidence("binary", "auroc", data=data(duplicates=easy))) == []


@pytest.mark.parametrize("later", [SURE, near(0.1, 0.02)])
def test_the_costliest_column_is_told_first(later: Measure) -> None:
    """Also where the column occurs in two splits, and costs least in the second."""
    parts = [
        Filled("a", "test", -1.0, 0.2, 0.0, near(0.3, 0.02)),
        Filled("b", "test", 9.0, 0.2, 0.0, later),
        Filled("a", "val", -1.0, 0.2, 0.0, near(0.05, 0.01)),
    ]
    (finding,) = (
        found for found in verdict(run(data=data(filled=parts))) if found.name == "filled_with_default"
    )
    assert finding.symptom.startswith("a is -1 in 20% of the test rows")
    assert list(finding.evidence) == ["a", "b"] and finding.fixes == ["data.exclude=[a,b]"]
