"""Tells by its traces why a training did not get far: rate, length, regularization, layers that take no part."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.ladder import Ladder

LARGE_UPDATE = 0.1  # ‖Δw‖ / ‖w‖ of a typical step, at which weights are replaced rather than improved
SMALL_MOVE = 0.05  # ‖w − w₀‖ / ‖w₀‖ over a whole training, below which it has hardly begun
DEAD_SHARE = 0.9  # of a layer's units that are zero on all rows
VANISHED = 1e-6  # gradient of a layer over the largest of another
RECENT = 0.03  # share of the whole improvement that the last tenth of the epochs still brings
FALLING = (
    0.08  # share of the fall of the training loss in the third quarter; a training that has ended has less
)
STRONG_DROPOUT = 0.6
SHRINKING = 1.0  # rate × decay × steps: weights without gradient fall to exp(−1)


@dataclass(frozen=True)
class Cause:
    """Holds a diagnosis before it becomes a finding: its name, reason, evidence, fixes, and what it rules out."""

    name: str
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)
    fixes: list[str] = field(default_factory=list)
    ruled_out: dict[str, str] = field(default_factory=dict)


def optimisation(evidence: Evidence, ladder: Ladder) -> Cause | None:
    """Return the first cause whose signs are there; None where the training itself was sound."""
    for rule in (_layers, _rate_too_high, _over_regularised, _rate_too_low, _stopped_too_early):
        cause = rule(evidence, ladder)
        if cause is not None:
            return cause
    return None


def _layers(evidence: Evidence, ladder: Ladder) -> Cause | None:
    frozen = [layer.name for layer in evidence.layers if not layer.trainable]
    still = [
        layer.name for layer in evidence.layers if layer.trainable and layer.moved == 0 and not layer.update
    ]
    dead = {name: share for name, share in evidence.checks.dead.items() if share >= DEAD_SHARE}
    if dead and not _too_high(evidence):
        name, share = max(dead.items(), key=lambda entry: entry[1])
        return Cause(
            "dead_units",
            f"{share:.0%} of the units of {name} are zero on all rows that were tried, so that nothing reaches the "
            "layers behind them",
            {"dead": dead, "threshold": DEAD_SHARE},
            _lower_rate(evidence)
            + (["model.activation=gelu"] if evidence.settings.get("model.activation") == "relu" else []),
        )
    if frozen or still:
        names = ", ".join((frozen + still)[:5])
        return Cause(
            "frozen_parameters",
            f"{names} did not change in training: {'no gradient is asked for' if frozen else 'no gradient arrives'}",
            {"without requires_grad": frozen, "unchanged": still},
        )
    gradients = {layer.name: layer.gradient for layer in evidence.layers if layer.gradient is not None}
    largest = max(gradients.values(), default=0.0)
    small = [name for name, gradient in gradients.items() if gradient < VANISHED * largest]
    if small:
        return Cause(
            "vanishing_gradients",
            f"the gradient of {', '.join(small[:5])} is less than {VANISHED:g} of that of another layer",
            {"gradients": gradients, "threshold": VANISHED},
            ["model.norm=layer"] if "model.norm" in evidence.settings else [],
        )
    return None


def _typical_update(evidence: Evidence) -> float:
    """Return the median of the largest update ratios in the middle half of training, without warm-up and decay."""
    updates = evidence.updates
    return (
        float(np.median(updates[len(updates) // 4 : max(1, 3 * len(updates) // 4)])) if updates else math.nan
    )


def _too_high(evidence: Evidence) -> bool:
    return _typical_update(evidence) > LARGE_UPDATE or _grew(evidence)


def _grew(evidence: Evidence) -> bool:
    """Return whether the training loss ended above where it began."""
    losses = [
        entry["train/loss"] for entry in evidence.losses if math.isfinite(entry.get("train/loss", math.nan))
    ]
    start = evidence.initial.get("loss", math.nan)
    return len(losses) > 2 and float(np.median(losses[len(losses) // 2 :])) > 1.05 * start > 0


def _rate_too_high(evidence: Evidence, ladder: Ladder) -> Cause | None:
    if not _too_high(evidence):
        return None
    update = _typical_update(evidence)
    return Cause(
        "learning_rate_too_high",
        f"a typical step changed a layer by {update:.1%} of its weights"
        + (", and the training loss ended above where it began" if _grew(evidence) else ""),
        {
            "typical update-to-weight ratio": update,
            "threshold": LARGE_UPDATE,
            "training loss before": evidence.initial.get("loss"),
        },
        _lower_rate(evidence),
    )


def _rate_too_low(evidence: Evidence, ladder: Ladder) -> Cause | None:
    moved = [layer.moved for layer in evidence.layers if layer.moved is not None and layer.trainable]
    if not moved or max(moved) >= SMALL_MOVE:
        return None
    lr = evidence.settings.get("optim.lr")
    return Cause(
        "learning_rate_too_low",
        f"in the whole training no layer moved by more than {max(moved):.2%} of its first weights",
        {
            "largest move": max(moved),
            "threshold": SMALL_MOVE,
            "typical update-to-weight ratio": _typical_update(evidence),
        },
        [f"optim.lr={10 * lr:.2g}", f"optim.lr={100 * lr:.2g}"] if isinstance(lr, float) else [],
        {"stopped_too_early": "at this rate, ten times as many steps would not be enough"},
    )


def _over_regularised(evidence: Evidence, ladder: Ladder) -> Cause | None:
    settings = evidence.settings
    lr, decay, steps = (
        float(settings.get(key) or 0.0) for key in ("optim.lr", "optim.weight_decay", "steps")
    )
    shrinking = lr * decay * steps
    if settings.get("optim") in ("adam", "sgd"):  # decay is part of the gradient: its strength alone counts
        shrinking = decay * SHRINKING / 0.1
    dropout = settings.get("model.dropout") or 0.0
    shrunk = [layer.shrunk for layer in evidence.layers if layer.shrunk is not None]
    strong = {}
    if shrinking >= SHRINKING:
        strong["optim.weight_decay"] = decay
    if dropout >= STRONG_DROPOUT:
        strong["model.dropout"] = dropout
    for key in ("regularization.l2.strength", "regularization.l1.strength"):
        if settings.get(key) and shrunk and min(shrunk) < 0.5:
            strong[key] = settings[key]
    if not strong:
        return None
    told = ", ".join(f"{key}={value:g}" for key, value in strong.items())
    return Cause(
        "over_regularised",
        f"{told} holds the model back: training rows are not predicted well either",
        {**strong, "weights at the end over those at the start": min(shrunk, default=None)},
        [f"{key}={value / 100 if 'dropout' not in key else 0.1:g}" for key, value in strong.items()],
        {"too_small": "the same model with less regularization was not tried: try it first"},
    )


def _stopped_too_early(evidence: Evidence, ladder: Ladder) -> Cause | None:
    epochs = evidence.settings.get("trainer.max_epochs")
    share, falling = recent_share(evidence) or 0.0, _falling(evidence)
    if not isinstance(epochs, int) or (share < RECENT and falling < FALLING):
        return None
    lr = evidence.settings.get("optim.lr")
    trained = len(evidence.history) or epochs
    told = f"the third quarter of {trained} epochs still brought {falling:.0%} of the whole fall of the training loss"
    if falling < FALLING:
        told = f"the last tenth of {epochs} epochs still brought {share:.0%} of the gain in val/{evidence.monitor}"
    return Cause(
        "stopped_too_early",
        told,
        {
            "share of the last tenth": share,
            "fall in the third quarter": falling,
            "thresholds": [RECENT, FALLING],
        },
        [f"trainer.max_epochs={3 * epochs}", *([f"optim.lr={3 * lr:.2g}"] if isinstance(lr, float) else [])],
        {"too_small": "training rows would have been predicted better by longer training"},
    )


def _falling(evidence: Evidence) -> float:
    """Return the share of the whole fall of the training loss that came in the third quarter of the training.

    Schedules let the rate go to zero, and with it the fall: the last quarter tells nothing.
    """
    entries = evidence.history if len(evidence.history) >= 4 else evidence.losses
    losses = [entry["train/loss"] for entry in entries if math.isfinite(entry.get("train/loss", math.nan))]
    start = evidence.initial.get("loss", math.nan)
    if len(losses) < 4 or not math.isfinite(start):
        return 0.0
    quarters = [float(np.mean(part)) for part in np.array_split(losses, 4)]
    fall = start - quarters[3]
    return (quarters[1] - quarters[2]) / fall if fall > 0 else 0.0


def recent_share(evidence: Evidence) -> float | None:
    """Return the share of all improvement that the last tenth of all allowed epochs brought; None if unknown."""
    name = f"val/{evidence.monitor}"
    values = [entry[name] for entry in evidence.history if math.isfinite(entry.get(name, math.nan))]
    if len(values) < 3 or len(values) < (evidence.settings.get("trainer.max_epochs") or 0):
        return None
    sign = 1 if evidence.directions.get(evidence.monitor, "min") == "max" else -1
    back = max(1, len(values) // 10)
    total, recent = sign * (values[-1] - values[0]), sign * (values[-1] - values[-1 - back])
    val = evidence.splits.get("val", {}).get(evidence.monitor)
    if val is None or not total > (val.high - val.low) / 2:  # nothing but noise
        return None
    return recent / total


def _lower_rate(evidence: Evidence) -> list[str]:
    lr = evidence.settings.get("optim.lr")
    return [f"optim.lr={lr / 10:.2g}", f"optim.lr={lr / 100:.2g}"] if isinstance(lr, float) else []
