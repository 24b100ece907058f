"""Tells what holds a model back that has not overfitted, and what reduces variance in one that has."""

from __future__ import annotations

import math

from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.ladder import Gap, Ladder
from lit_mlfund.diagnostics.optimisation import Cause, optimisation

LARGE = 0.1  # share of a reference's gain over the constant; a gap below it is told, but is no warning
FEW_STEPS = 1000
MAJORITY = 0.8  # share of one class, from which accuracy hardly tells one epoch from another
RANKING = ("auroc", "average_precision", "accuracy", "macro_f1")  # metrics that no temperature changes


def cause_of_bias(evidence: Evidence, ladder: Ladder, gaps: list[Gap]) -> Cause:
    """Return what holds a model back that has not overfitted."""
    miscalibrated = _miscalibrated(evidence) if all(gap.metric == "log_loss" for gap in gaps) else None
    if miscalibrated is not None and miscalibrated.name == "over_confident":
        return miscalibrated
    # outputs that have not grown yet are cautious, too: the training comes before their temperature, and a model that
    # ranks worse than a reference, by however little, has not come as far
    if any(gap.metric in RANKING for gap in ladder.gaps()):
        miscalibrated = None
    if evidence.settings.get("model") == "Linear" and _is_as_good_as_linear(evidence, ladder):
        return _capacity(evidence)
    cause = (
        _blind_monitor(evidence)
        or optimisation(evidence, ladder)
        or miscalibrated
        or _below_linear(evidence, ladder)
    )
    if cause is None and math.isnan(ladder.train_skill(ladder.primary)):
        return Cause(
            "inconclusive", "training rows were not measured, so bias and variance cannot be told apart"
        )
    return cause or _capacity(evidence)


def _blind_monitor(evidence: Evidence) -> Cause | None:
    """Recognise that one class prevails so much that accuracy chose an epoch long before the best."""
    share = evidence.references.get("constant", {}).get("accuracy")
    val = evidence.splits.get("val", {}).get("accuracy")
    if (
        evidence.monitor != "accuracy"
        or evidence.settings.get("checkpoint") != "best"
        or val is None
        or share is None
    ):
        return None
    epochs = [entry for entry in evidence.history if "val/accuracy" in entry and "val/log_loss" in entry]
    if share.value < MAJORITY or len(epochs) < 2:
        return None
    values, losses = ([entry[name] for entry in epochs] for name in ("val/accuracy", "val/log_loss"))
    chosen, best = values.index(max(values)), losses.index(min(losses))
    fall = losses[0] - losses[best]
    if (
        chosen >= best
        or max(values) - values[best] > val.high - val.low
        or losses[chosen] - losses[best] < LARGE * fall
    ):
        return None
    return Cause(
        "class_imbalance",
        f"{share.value:.0%} of the rows are of one class, so that val/accuracy hardly changed: it chose epoch "
        f"{chosen + 1} with val/log_loss {losses[chosen]:.3g}, and epoch {best + 1} has {losses[best]:.3g}",
        {
            "share of the largest class": share.value,
            "threshold": MAJORITY,
            "epochs": {"chosen": chosen + 1, "by log loss": best + 1},
        },
        ["monitor=val/log_loss", *(["monitor=val/auroc"] if evidence.task == "binary" else [])],
        {
            "chance": "the epochs' accuracies lie within one 95 % interval, and their log losses do not agree with them"
        },
    )


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


def against_overfitting(evidence: Evidence) -> list[str]:
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
