"""Names the cause of a loss or gradient that is not finite: the input, an undefined operation, or an explosion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lit_mlfund.diagnostics.evidence import Evidence, NonFinite
from lit_mlfund.diagnostics.finding import Finding
from lit_mlfund.diagnostics.measures.first_nonfinite import LOGARITHMS, QUOTIENTS

MAX_ROWS = 20
WILD = 1e6  # absolute value of an input, in standard deviations if it is standardised, that no learning rate allows for
GROWTH = 10.0  # of the gradient norm over its median, beyond which it has exploded


def nonfinite(evidence: Evidence) -> Finding | None:
    """Return the finding on a training that stopped as its loss or gradient was not finite; None if none did."""
    found = evidence.nonfinite
    if found is None:
        if not evidence.failure:
            return None
        return _exploding(evidence, None, evidence.failure)
    if found.phase in ("input", "target", "weights"):
        return _input(evidence, found)
    if found.zero or found.negative:
        return _undefined(evidence, found)
    if math.isfinite(found.largest) and found.largest > WILD:
        return _wild(evidence, found)
    return _exploding(evidence, found, "")


def _at(found: NonFinite) -> str:
    what = (
        f"training loss is {found.loss}"
        if not math.isfinite(found.loss)
        else f"gradient norm is {found.norm}"
    )
    return f"The {what} at step {found.step}; the step was not taken"


def _facts(found: NonFinite) -> dict[str, Any]:
    facts: dict[str, Any] = {"step": found.step, "loss": str(found.loss), "gradient norm": str(found.norm)}
    if found.operation:
        facts |= {"operation": found.operation, "layer": found.layer, "pass": found.phase}
    if found.norms:
        facts["median gradient norm before"] = float(np.median(found.norms))
    if math.isfinite(found.largest):
        facts |= {"largest input": found.largest, "largest input's column": found.largest_column}
    if math.isfinite(found.weights):
        facts["largest weight"] = found.weights
    return facts


def _rows(found: NonFinite) -> str:
    if not found.rows:
        return ""
    shown = ", ".join(map(str, found.rows[:5])) + (", …" if len(found.rows) > 5 else "")
    return f" row{'s' * (len(found.rows) > 1)} {shown} of the file"


def _input(evidence: Evidence, found: NonFinite) -> Finding:
    place = f"column {found.column}" if found.phase == "input" else f"the {found.phase}"
    return Finding(
        name="nonfinite_input",
        severity="error",
        symptom=f"{_at(found)}: {place} is not finite in{_rows(found) or ' a batch'}.",
        evidence=_facts(found) | {"column": found.column or found.phase},
        ruled_out={"learning rate": "the batch itself holds the value, before any weight is applied"},
        fixes=[f"data.exclude=[{found.column}]"]
        if found.phase == "input" and _has(evidence, "data.exclude")
        else [],
        rows=found.rows[:MAX_ROWS],
    )


def _undefined(evidence: Evidence, found: NonFinite) -> Finding:
    base = found.operation.rstrip("0123456789_")
    is_log = base in LOGARITHMS or base.startswith("log")
    if is_log:
        name, what, cure = (
            "log_of_zero",
            "a logarithm",
            "clamp it, or compute from logits (logsigmoid)",
        )
    elif base in QUOTIENTS:
        name, what, cure = (
            "division_by_zero",
            "a quotient",
            "add a small number to the divisor or mask these rows",
        )
    else:
        name, what, cure = "sqrt_at_zero", "a root or norm", "add a small number below the root"
    kind = "a negative number" if found.negative and not found.zero else "zero"
    where = f"{found.operation} in {found.layer or 'the module'} ({found.phase} pass)"
    fixes = []
    default = evidence.settings.get("default_loss")
    if found.layer.startswith("loss") and default and default != evidence.settings.get("loss"):
        fixes.append(f"loss={default}")
    return Finding(
        name=name,
        severity="error",
        symptom=f"{_at(found)}: {what} of {kind} in {where}{' at' + _rows(found) if found.rows else ''}: {cure}."
        if name != "division_by_zero"
        else f"{_at(found)}: a division by zero in {where}{' at' + _rows(found) if found.rows else ''}: {cure}.",
        evidence=_facts(found),
        ruled_out={
            "nonfinite_input": "inputs, target and weights of the batch are finite",
            "exploding_gradients": "the operation is undefined at its argument, whatever the learning rate",
        },
        fixes=fixes,
        rows=found.rows[:MAX_ROWS],
    )


def _wild(evidence: Evidence, found: NonFinite) -> Finding:
    return Finding(
        name="wild_feature_scale",
        severity="error",
        symptom=f"{_at(found)}: column {found.largest_column} has a value of {found.largest:.3g}, at which "
        f"{found.operation or 'an operation'} in {found.layer or 'the module'} overflows.",
        evidence=_facts(found) | {"threshold": WILD},
        ruled_out={"nonfinite_input": "inputs, target and weights of the batch are finite"},
        fixes=[f"data.exclude=[{found.largest_column}]"] if _has(evidence, "data.exclude") else [],
        rows=found.rows[:MAX_ROWS],
    )


def _exploding(evidence: Evidence, found: NonFinite | None, reason: str) -> Finding:
    lr = evidence.settings.get("optim.lr")
    fixes = [f"optim.lr={lr / 10:.1g}"] if isinstance(lr, float) and lr > 0 else []
    clip = evidence.settings.get("trainer.gradient_clip_val")
    if not clip:
        fixes.append("trainer.gradient_clip_val=1.0")
    if evidence.settings.get("schedule.warmup_fraction") == 0.0:
        fixes.append("schedule.warmup_fraction=0.1")
    facts: dict[str, Any] = {"learning rate": lr, "gradient clipping": clip}
    ruled_out: dict[str, str] = {}
    if found is None:
        symptom = f"Training diverged: {reason}."
    else:
        facts |= _facts(found)
        place = (
            f"{found.operation} in {found.layer or 'the module'} overflows"
            if found.operation
            else "the gradient is too large for its norm"
        )
        norms = found.norms
        growth = max(norms[-5:]) / max(float(np.median(norms)), 1e-30) if len(norms) >= 10 else math.nan
        steps = "at its first steps" if len(norms) < 10 else f"after gradients grew {growth:.3g}-fold"
        if len(norms) >= 10 and not growth > GROWTH:
            steps = "after weights have grown"
        symptom = f"{_at(found)}: {place} {steps}: lower optim.lr (try a tenth)" + (
            "." if clip else ", or clip gradients."
        )
        ruled_out = {"nonfinite_input": "inputs, target and weights of the batch are finite"}
        if found.operation:
            ruled_out["undefined operation"] = "no logarithm, root or divisor of the step was zero"
    return Finding(
        name="exploding_gradients",
        severity="error",
        symptom=symptom,
        evidence=facts,
        ruled_out=ruled_out,
        fixes=fixes,
        rows=[] if found is None else found.rows[:MAX_ROWS],
    )


def _has(evidence: Evidence, key: str) -> bool:
    return key in evidence.settings
