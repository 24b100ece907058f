"""Judges what a model knows that it will not know later: the target, rows or people of test, row numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.finding import Finding
from lit_mlfund.diagnostics.measures.data_evidence import DataEvidence, Duplicates
from lit_mlfund.diagnostics.shift import exclude

# Part of the constant's loss that a feature may leave unexplained at most to be nearly the target, for classes and for
# numbers; and how many times as much all others together must leave. Honest features are rarely that far ahead.
UNEXPLAINED = {True: 0.25, False: 0.02}
AHEAD = 3.0
APART = 0.8  # separation of the classes in it: a target that is an honest feature cut in two has .64 … .75
INFLATED = 0.01  # of the constant's loss, by which copies make the test score better
MANY_COPIES = 0.02  # of the test rows, before a model is trained
NOTABLE_COPIES = 0.01
FEW_KINDS = 0.5  # of training rows: where most occur again, rows of test will, too
COSTLY_GROUPS = 0.05  # of the constant's loss
COUNTING = 0.01  # skill of a number of a row


def leakage(evidence: Evidence) -> Iterator[Finding]:
    """Yield what makes the result better than it will be."""
    data = evidence.data
    if data is None:
        return
    yield from _target(data)
    yield from _counters(data)
    yield from _duplicates(evidence, data)
    yield from _groups(data)


def _target(data: DataEvidence) -> Iterator[Finding]:
    if not data.strengths or math.isnan(data.strengths[0].others):
        return
    first, classes = data.strengths[0], data.task in ("binary", "multiclass")
    left, others = 1 - first.skill.low, 1 - max(first.others, 0.0)
    if left > UNEXPLAINED[classes] or others < AHEAD * left or first.separation < APART:
        return
    if first.column in {counter.column for counter in data.counters}:
        return
    second = data.strengths[1] if len(data.strengths) > 1 else None
    yield Finding(
        name="target_leakage",
        severity="warning",
        symptom=f"{first.column} alone explains {first.skill.value:.1%} of the target, all other features together "
        f"{max(first.others, 0.0):.1%}: it is nearly the target itself, and may not be known when a prediction is "
        "needed.",
        evidence={
            first.column: first.skill.to_dict(),
            "all others": first.others,
            **({f"next: {second.column}": second.skill.to_dict()} if second else {}),
            "thresholds": {"unexplained": UNEXPLAINED[classes], "times as much by the others": AHEAD},
        },
        ruled_out={
            "a strong honest feature": f"the others leave {others / max(left, 1e-9):.3g} times as much unexplained, "
            "where honest features share what they know",
            "chance": "it was measured on rows that were not used to fit it",
        },
        fixes=exclude(data, [first.column]),
    )


def _counters(data: DataEvidence) -> Iterator[Finding]:
    if not data.counters:
        return
    best = max(data.counters, key=lambda counter: counter.skill.value)
    loud = best.skill.low > COUNTING
    names = [counter.column for counter in data.counters]
    yield Finding(
        name="row_number_feature",
        severity="warning" if loud else "info",
        symptom=f"{' and '.join(names)} {'number' if len(names) > 1 else 'numbers'} the rows of the file. "
        + (
            f"By itself {best.column} explains {best.skill.value:.1%} of the target: the file is ordered by something "
            "that new rows do not have."
            if loud
            else "That tells nothing of the target."
        ),
        evidence={counter.column: counter.skill.to_dict() for counter in data.counters}
        | {"threshold": COUNTING},
        ruled_out={"a measurement": "whole numbers, all different, that follow the row of the file"},
        fixes=exclude(data, names),
    )


def _duplicates(evidence: Evidence, data: DataEvidence) -> Iterator[Finding]:
    found = data.duplicates
    if found is None or found.share < NOTABLE_COPIES:
        return
    trained = math.isfinite(found.clean.value)
    loud = _is_inflated(found) if trained else found.copied.above and found.share >= MANY_COPIES
    if not loud and found.kinds < FEW_KINDS:
        return
    number = found.exact + found.near
    kinds = f"{found.exact:,} exactly" + (f", {found.near:,} nearly" if found.near else "")
    told = f"{number:,} test rows ({found.share:.0%}) are rows of training ({kinds})"
    if trained:
        told += (
            f". The loss is {found.duplicated.value:.4g} on them, and {found.clean.value:.4g} on the others"
            + ("" if loud else ", which is no more than such rows differ anyway")
        )
    elif loud:
        told += ", and copying their target is better than predicting it"
    ruled_out = {"chance": "the interval of the difference excludes 0"} if loud else {}
    if loud and found.compared:
        ruled_out["rows that are easy"] = "a model that has not seen the copies is not as much better there"
    yield Finding(
        name="duplicates_across_splits",
        severity="warning" if loud else "info",
        symptom=f"{told}.",
        evidence={
            "exact": found.exact,
            "near": found.near,
            "share": found.share,
            "share with the same target": found.same_target,
            "loss on clean rows": found.clean.to_dict(),
            "loss on duplicated rows": found.duplicated.to_dict(),
            "gain beyond what such rows explain, over the loss of a constant": found.gain.to_dict(),
            "rows of training": found.copies,
            "threshold": INFLATED,
        },
        ruled_out=ruled_out,
        rows=found.rows,
    )


def _is_inflated(found: Duplicates) -> bool:
    sure = found.compared or found.same_target >= 0.9
    return sure and found.gain.above and found.gain.value * found.share >= INFLATED


def _groups(data: DataEvidence) -> Iterator[Finding]:
    overlaps = sorted(data.overlaps, key=lambda part: -part.cost.value)
    if not overlaps:
        return
    worst = overlaps[0]
    loud = data.by != "time" and worst.cost.above and worst.cost.value >= COSTLY_GROUPS
    yield Finding(
        name="group_overlap",
        severity="warning" if loud else "info",
        symptom=f"{worst.share:.0%} of the test rows have a {worst.column} that training has, too. "
        + (
            f"Where all rows of a {worst.column} are held out together, the loss rises by {worst.cost.value:.1%} "
            f"({worst.cost.low:.1%} … {worst.cost.high:.1%}) of that of a constant: so much is known of the "
            "one, and not of others."
            if loud
            else "Holding out all rows of one together costs nothing that can be seen."
        ),
        evidence={
            part.column: {
                "values": part.values,
                "share of test rows": part.share,
                "rows of training by value": part.rows,
                "cost": part.cost.to_dict(),
            }
            for part in overlaps
        },
        ruled_out={"chance": "the paired interval excludes 0"} if loud else {},
        fixes=[f"data.group={worst.column}"] if loud else [],
    )
