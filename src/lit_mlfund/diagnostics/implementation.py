"""Recognises mistakes in a model, a loss or a loader that no setting mends, by what the trained module does."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.finding import Finding

SPREAD = 5.0  # variance of the mean target of a batch, over that of a random batch
WRONG_START = 2.0  # loss before training over that of a constant
LEFTOVER = 1e-3  # gradient before a backward pass over what is added to it; zeroed ones give 0
WAITING = 0.5  # share of the training time that passed without a batch
LEAST_SECONDS = 10.0  # of training, below which waiting is no nuisance
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
    bounded = low is not None and high is not None and 0 <= low < high <= 1 and not checks.raw_is_linear
    if checks.on_logits and bounded:
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
    if evidence.leftover is not None and evidence.leftover > LEFTOVER:
        yield Finding(
            name="gradients_not_zeroed",
            severity="warning",
            symptom=f"Before a backward pass the gradient is {evidence.leftover:.3g} times what that pass adds to it: "
            "gradients of earlier steps are not zeroed, and each step follows their sum.",
            evidence={"gradient before over added": evidence.leftover, "threshold": LEFTOVER},
            ruled_out={"accumulation": "only the first backward pass of an optimizer step was looked at"},
        )
    yield from _start(evidence)
    yield from _scales(evidence)
    yield from _loading(evidence)


def _loading(evidence: Evidence) -> Iterator[Finding]:
    """Recognise a training that mostly waits; without its seconds, as a repeated run has the same findings."""
    waited, worked = (evidence.loading.get(part, 0.0) for part in ("waited", "worked"))
    if waited + worked > LEAST_SECONDS and waited > WAITING * (waited + worked):
        yield Finding(
            name="data_loader_bottleneck",
            severity="warning",
            symptom=f"More than {WAITING:.0%} of the training time passed waiting for batches: reading or transforming "
            "the rows takes longer than the steps.",
            evidence={"threshold": WAITING},
            ruled_out={"the start of an epoch": "its first batch and validation are not counted"},
        )


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
