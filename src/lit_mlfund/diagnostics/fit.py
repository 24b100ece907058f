"""Tells apart why a model falls short of what the references reach: too little signal, capacity, or too much of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lit_mlfund.diagnostics.bias import LARGE, against_overfitting, cause_of_bias
from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.finding import Finding
from lit_mlfund.diagnostics.ladder import Gap, Ladder
from lit_mlfund.diagnostics.optimisation import optimisation

NOTABLE = 0.02  # … and of the way from the constant to perfection: where noise dominates, all gains are small
GENERALIZATION = 0.1  # of skill between training and test rows, below which a model has not overfitted
ENOUGH_ROWS = 100  # of test rows, on which nothing found is more than nothing seen


def fit(evidence: Evidence) -> Iterator[Finding]:
    """Yield the findings on bias, variance and signal, the cause before what follows from it."""
    ladder = Ladder(evidence)
    if ladder.floor is None and not ladder.learned:
        return
    gaps = list(ladder.gaps())
    large = [gap for gap in gaps if gap.metric in ladder.judged and _is_large(gap)]
    below = ladder.below_floor()
    if large or below:
        yield _short(evidence, ladder, large, below)
    elif ladder.floor is not None and not ladder.above_floor():
        yield _nothing(evidence, ladder)
    else:
        if gaps:
            yield _slightly_behind(ladder, gaps)
        yield _enough(evidence, ladder, bool(gaps))


def _is_large(gap: Gap) -> bool:
    """Return whether a gap matters; without a floor, or a reference that is better than it, any gap does."""
    return not gap.share < LARGE and not gap.skill < NOTABLE


def _told(gap: Gap) -> str:
    return (
        f"{gap.reference} is better in test/{gap.metric} by {abs(gap.gain.value):.3g} "
        f"({abs(gap.gain.high):.3g} … {abs(gap.gain.low):.3g}, paired)"
    )


def _comparison(evidence: Evidence, ladder: Ladder, gaps: list[Gap], below: list[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for gap in gaps:
        facts[f"gain over {gap.reference}, test/{gap.metric}"] = gap.gain.to_dict() | {"share": gap.share}
    for metric in below:
        facts[f"gain over {ladder.floor}, test/{metric}"] = evidence.gains[ladder.floor or ""][
            metric
        ].to_dict()
    facts |= {
        f"skill in {ladder.primary}": {
            "train": ladder.train_skill(ladder.primary),
            "test": ladder.test_skill(ladder.primary),
            "best reference": ladder.best_skill(ladder.primary),
        }
    }
    return facts


def _short(evidence: Evidence, ladder: Ladder, gaps: list[Gap], below: list[str]) -> Finding:
    """Name why a model is behind a reference or the constant: variance, or one of the kinds of bias."""
    parts = [_told(gap) for gap in gaps[:2]]
    if below:
        floor = evidence.gains[ladder.floor or ""][below[0]]
        parts.append(
            f"test/{below[0]} is worse than the {ladder.floor} predictor's by {abs(floor.value):.3g} "
            f"({abs(floor.high):.3g} … {abs(floor.low):.3g}, paired)"
        )
    behind = "; ".join(parts)
    facts = _comparison(evidence, ladder, gaps, below)
    ruled_out = {
        "chance": "the paired 95 % intervals exclude 0",
        "other rows": "all are measured on the same rows",
    }
    metric = ladder.primary
    train, test, best = ladder.train_skill(metric), ladder.test_skill(metric), ladder.best_skill(metric)
    variance = train - test if ladder.training_beyond_test(metric) else 0.0
    bias = max(0.0, (best if best > 0 else 0.0) - train)
    if variance > GENERALIZATION and variance > bias:
        return Finding(
            name="overfitting",
            severity="warning",
            symptom=f"{behind}. Training rows are predicted much better than test rows ({metric} "
            f"{evidence.training[metric].value:.4g} and {evidence.splits['test'][metric].value:.4g}): the model has "
            "learned rows by heart.",
            evidence=facts,
            ruled_out=ruled_out
            | {"too_small": "training rows are predicted well", "no_signal": "training rows are told apart"},
            fixes=against_overfitting(evidence),
        )
    cause = cause_of_bias(evidence, ladder, gaps)
    return Finding(
        name=cause.name,
        severity="warning",
        symptom=f"{behind}. {cause.reason[0].upper()}{cause.reason[1:]}.",
        evidence=facts | cause.evidence,
        ruled_out=ruled_out
        | (
            {}
            if math.isnan(train)
            else {"overfitting": "training rows are predicted no better than that explains"}
        )
        | cause.ruled_out,
        fixes=cause.fixes,
    )


def _nothing(evidence: Evidence, ladder: Ladder) -> Finding:
    """Report a model that is no better than the floor, although no reference is far ahead of it."""
    rows = evidence.rows.get("test", 0)
    signal = ladder.signal()
    facts = {
        f"gain over {ladder.floor}, test/{metric}": gain.to_dict()
        for metric, gain in evidence.gains.get(ladder.floor or "", {}).items()
        if metric in ladder.metrics
    }
    if not signal and not ladder.train_signal() and ladder.learned and rows >= ENOUGH_ROWS:
        return Finding(
            name="no_signal",
            severity="error",
            symptom=f"Neither this model nor {' nor '.join(ladder.learned)} is better than the {ladder.floor} "
            f"predictor on {rows:,} test rows, and the model is not on its training rows either.",
            evidence=facts,
            ruled_out={
                "a model that is too small": "other kinds of models find nothing either",
                "overfitting": "training rows are not told apart",
            },
        )
    cause = optimisation(evidence, ladder)
    if cause is not None and (signal or not ladder.train_signal()):
        return Finding(
            name=cause.name,
            severity="warning",
            symptom=f"In no metric is the model better than the {ladder.floor} predictor. "
            f"{cause.reason[0].upper()}{cause.reason[1:]}.",
            evidence=facts | cause.evidence,
            ruled_out={"no_signal": "signs of the training itself explain it"} | cause.ruled_out,
            fixes=cause.fixes,
        )
    seen = "the training rows are told apart" if ladder.train_signal() else ""
    if signal:
        seen = f"{' and '.join(signal)} found something, but by too little to tell it from this model"
    return Finding(
        name="inconclusive",
        severity="info",
        symptom=f"On {rows:,} test rows the model cannot be told from the {ladder.floor} predictor; "
        + (f"{seen}." if seen else "more rows would tell."),
        evidence=facts,
        ruled_out={"no_signal": seen} if seen else {},
    )


def _slightly_behind(ladder: Ladder, gaps: list[Gap]) -> Finding:
    worst = max(
        gaps, key=lambda gap: (gap.metric in ladder.judged, gap.share if gap.share == gap.share else 0.0)
    )
    return Finding(
        name="features_carry_no_more" if not _is_large(worst) else "inconclusive",
        severity="info",
        symptom=f"{_told(worst)}: "
        + (
            f"{worst.share:.1%} of what the features are known to tell."
            if math.isfinite(worst.share)
            else "in none of the metrics by which the model is judged."
        ),
        evidence={
            f"gain over {g.reference}, test/{g.metric}": g.gain.to_dict() | {"share": g.share} for g in gaps
        },
        ruled_out={"chance": "the paired 95 % interval excludes 0"},
    )


def _enough(evidence: Evidence, ladder: Ladder, behind: bool) -> Finding:
    """Report a model that no reference beats by much: healthy, or one that only more rows would help."""
    metric = ladder.primary
    train, test = ladder.train_skill(metric), ladder.test_skill(metric)
    better = ladder.above_floor()
    facts = _comparison(evidence, ladder, [], []) | {f"better than {ladder.floor} in": better}
    if train - test > 2 * GENERALIZATION and ladder.training_beyond_test(metric):
        return Finding(
            name="limited_by_data",
            severity="info",
            symptom=f"Training rows are predicted better than test rows ({metric} "
            f"{evidence.training[metric].value:.4g} and {evidence.splits['test'][metric].value:.4g}), and no reference "
            f"does {'much ' * behind}better: more rows would help more than another setting.",
            evidence=facts,
            ruled_out={"overfitting": "no simpler model does better on the same rows"},
        )
    beside = f", and no reference is {'much ' * behind}better" if ladder.learned else ""
    return Finding(
        name="healthy",
        severity="info",
        symptom=f"Better than the {ladder.floor} predictor in {len(better)} of {len(ladder.metrics)} metrics{beside}.",
        evidence=facts,
        ruled_out={"chance": "the paired 95 % intervals exclude 0"},
    )
