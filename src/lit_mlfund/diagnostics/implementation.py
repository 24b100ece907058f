"""Recognises mistakes in a model, a loss or a loader that no setting mends, by what the trained module does."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.finding import Finding

SPREAD = 5.0  # variance of the mean target of a batch, over that of a random batch
WRONG_START = 2.0  # loss before training over that of a constant
SCALE_RATIO = 1e4  # between the standard deviations of two numeric columns


def implementation(evidence: Evidence) -> Iterator[Finding]:
    """Yield the mistakes whose signs are there."""
    checks = evidence.checks
    if checks.repeated is not None and checks.repeated > 0:
        yield Finding(
            name="validation_in_training_mode",
            severity="warning",
            symptom=f"Two evaluations of the same rows in evaluation mode differ by up to {checks.repeated:.3g}: "
            "something still draws at random, such as a dropout that ignores `training`.",
            evidence={"largest difference": checks.repeated},
            ruled_out={"rounding": "the same rows, weights and order give the same bits otherwise"},
        )
    low, high = checks.raw_low, checks.raw_high
    if checks.on_logits and low is not None and high is not None and low >= 0 and high <= 1 and high > low:
        several = evidence.task == "multiclass"
        if not several or checks.raw_sums_to_1:
            last = "softmax" if several else "sigmoid"
            yield Finding(
                name="double_softmax",
                severity="warning",
                symptom=f"The model's outputs all lie in [{low:.3g}, {high:.3g}], but the loss takes logits and "
                f"applies a {last} of its own: leave the {last} out of the model.",
                evidence={
                    "lowest output": low,
                    "highest output": high,
                    "rows sum to 1": checks.raw_sums_to_1,
                },
                ruled_out={"chance": "logits of hundreds of rows have no reason to keep within [0, 1]"},
            )
    if evidence.batch_spread is not None and evidence.batch_spread > SPREAD:
        yield Finding(
            name="data_not_shuffled",
            severity="warning",
            symptom=f"The mean target of a batch varies {evidence.batch_spread:.3g} times as much as that of batches "
            "drawn at random: training rows are served in the order of their target, or nearly so.",
            evidence={"variance ratio": evidence.batch_spread, "threshold": SPREAD},
            ruled_out={"chance": f"random order gives about 1, and {SPREAD:g} practically never"},
        )
    yield from _start(evidence)
    yield from _scales(evidence)


def _start(evidence: Evidence) -> Iterator[Finding]:
    """Compare the first predictions with those of a constant, in a metric in which both are known."""
    for metric in ("log_loss", "rmse"):
        first, constant = evidence.initial.get(metric), evidence.references.get("constant", {}).get(metric)
        if (
            first is None
            or constant is None
            or not first > WRONG_START * constant.value
            or not math.isfinite(first)
        ):
            continue
        if evidence.task == "multiclass" and first <= WRONG_START * math.log(
            max(evidence.settings.get("classes", 2), 2)
        ):
            continue
        if evidence.task == "binary" and first <= WRONG_START * math.log(2):
            continue
        yield Finding(
            name="loss_at_initialisation",
            severity="info",
            symptom=f"Before the first step, {metric} on training rows was {first:.4g}, that of a constant is "
            f"{constant.value:.4g}: the first steps are spent on unlearning random outputs.",
            evidence={"before training": first, "constant": constant.to_dict(), "threshold": WRONG_START},
        )


def _scales(evidence: Evidence) -> Iterator[Finding]:
    scales = {name: scale for name, scale in evidence.checks.scales.items() if scale > 0}
    if len(scales) < 2:
        return
    largest, smallest = max(scales, key=scales.__getitem__), min(scales, key=scales.__getitem__)
    ratio = scales[largest] / scales[smallest]
    if ratio > SCALE_RATIO:
        yield Finding(
            name="wild_feature_scale",
            severity="warning",
            symptom=f"The standard deviation of {largest} is {ratio:.3g} times that of {smallest}: one learning rate "
            "does not fit both.",
            evidence={largest: scales[largest], smallest: scales[smallest], "threshold": SCALE_RATIO},
        )
