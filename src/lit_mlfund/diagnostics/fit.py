"""Tells apart why a model falls short of what the references reach: too little signal, capacity, or too much of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.finding import Finding
from lit_mlfund.diagnostics.ladder import Gap, Ladder
from lit_mlfund.diagnostics.optimisation import Cause, optimisation

LARGE = 0.1  # share of a reference's gain over the constant; a gap below it is told, but is no warning
NOTABLE = 0.02  # … and of the way from the constant to perfection: where noise dominates, all gains are small
GENERALIZATION = 0.1  # of skill between training and test rows, below which a model has not overfitted
FEW_STEPS = 1000
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
            fixes=_against_overfitting(evidence),
        )
    cause = _cause(evidence, ladder, gaps)
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


def _cause(evidence: Evidence, ladder: Ladder, gaps: list[Gap]) -> Cause:
    """Return what holds a model back that has not overfitted."""
    ranks_well = all(gap.metric == "log_loss" for gap in gaps)
    miscalibrated = _miscalibrated(evidence) if ranks_well else None
    if miscalibrated is not None and miscalibrated.name == "over_confident":
        return miscalibrated
    # outputs that have not grown yet are cautious, too: the training comes before their temperature
    if evidence.settings.get("model") == "Linear" and _is_as_good_as_linear(evidence, ladder):
        return _capacity(evidence)
    cause = optimisation(evidence, ladder) or miscalibrated or _below_linear(evidence, ladder)
    if cause is None and math.isnan(ladder.train_skill(ladder.primary)):
        return Cause(
            "inconclusive", "training rows were not measured, so bias and variance cannot be told apart"
        )
    return cause or _capacity(evidence)


def _is_as_good_as_linear(evidence: Evidence, ladder: Ladder) -> bool:
    linear = evidence.references.get("linear", {}).get(ladder.primary)
    reached = math.nan if linear is None else ladder.skill(ladder.primary, linear.value)
    return reached - ladder.train_skill(ladder.primary) <= LARGE * max(ladder.best_skill(ladder.primary), 0.0)


def _below_linear(evidence: Evidence, ladder: Ladder) -> Cause | None:
    """Recognise a model that has not even found on training rows what a linear model does on test rows."""
    linear = evidence.references.get("linear", {}).get(ladder.primary)
    if linear is None:
        return None
    train, reached = ladder.train_skill(ladder.primary), ladder.skill(ladder.primary, linear.value)
    if not reached - train > LARGE * reached:
        return None
    beyond = ladder.best_skill(ladder.primary) - reached
    if evidence.settings.get("model") == "Linear" and beyond > reached - train:
        return None  # trained to its end, it would still lack the larger part
    lr, epochs = evidence.settings.get("optim.lr"), evidence.settings.get("trainer.max_epochs")
    few = (evidence.settings.get("steps") or 0.0) < FEW_STEPS
    longer = [f"trainer.max_epochs={3 * epochs}"] if isinstance(epochs, int) else []
    faster = [f"optim.lr={3 * lr:.2g}"] if isinstance(lr, float) else []
    return Cause(
        "stopped_too_early" if few else "learning_rate_too_low",
        "training rows are predicted worse than the linear model predicts test rows, which takes no larger model: "
        + ("there were few steps" if few else "the steps were small"),
        {"steps": evidence.settings.get("steps"), "threshold": FEW_STEPS},
        longer + faster if few else faster + longer,
        {"too_small": "a linear model does better"},
    )


def _miscalibrated(evidence: Evidence) -> Cause | None:
    found = evidence.calibration
    if found is None or not found.gain.above:
        return None
    name = "over_confident" if found.temperature > 1 else "under_confident"
    return Cause(
        name,
        f"probabilities are too {'extreme' if found.temperature > 1 else 'cautious'}: dividing the logits by "
        f"{found.temperature:.3g} lowers the test log loss by {found.gain.value:.3g}",
        {"temperature": found.temperature, "gain in log loss": found.gain.to_dict()},
        ["monitor=val/log_loss"] if evidence.monitor != "log_loss" else [],
    )


def _capacity(evidence: Evidence) -> Cause:
    settings = evidence.settings
    hidden = settings.get("model.hidden")
    if settings.get("model") == "Linear":
        fixes = ["model=mlp"]
    elif isinstance(hidden, list):
        fixes = [f"model.hidden=[{','.join(str(4 * int(width)) for width in hidden or [32])}]"]
    else:
        fixes = []
    return Cause(
        "too_small",
        "training rows are not predicted better either, updates were of a healthy size and training has levelled "
        "off: the model cannot represent what the reference does",
        fixes=fixes,
        ruled_out={"learning rate, length, regularization": "none of their signs is there"},
    )


def _against_overfitting(evidence: Evidence) -> list[str]:
    """Return what reduces variance from this run's own values, first the weights that validation preferred."""
    settings, fixes = evidence.settings, []
    if settings.get("checkpoint") == "last":
        fixes.append("checkpoint=best")
    if not settings.get("early_stopping"):
        fixes.append("callbacks=default")
    if evidence.task in ("binary", "multiclass") and evidence.monitor != "log_loss":
        fixes.append("monitor=val/log_loss")
    dropout = settings.get("model.dropout")
    if isinstance(dropout, (int, float)) and dropout < 0.5:
        fixes.append(f"model.dropout={min(0.5, round(dropout + 0.2, 2)):g}")
    decay = settings.get("optim.weight_decay")
    if isinstance(decay, (int, float)):
        fixes.append(f"optim.weight_decay={max(10 * decay, 0.01):g}")
    return fixes


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
