"""Judges predicted probabilities: the temperature that would mend them, and what it would gain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.finding import Finding

LEAST_GAIN = 0.02  # of log loss over its value, below which a temperature is not worth a word


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """Return the temperature T that minimises the log loss of logits / T.

    Source: Guo et al. 2017, arXiv 1706.04599, §4.2.

    Args:
        logits: `[B]` for 0/1 targets, `[B, K]` for class numbers.
        target: `[B]`.
    """
    from scipy.optimize import minimize_scalar  # slow, and not needed before a training has ended

    logits, target = logits.double().cpu(), target.cpu()

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        if logits.ndim == 1:
            return float(torch.nn.functional.binary_cross_entropy_with_logits(scaled, target.double()))
        return float(torch.nn.functional.cross_entropy(scaled, target.long()))

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(50.0)), method="bounded")
    return float(np.exp(best.x))


def calibration(evidence: Evidence) -> Iterator[Finding]:
    """Yield `over_confident` or `under_confident` where a temperature lowers the log loss of the test rows."""
    found = evidence.calibration
    log_loss = evidence.splits.get("test", {}).get("log_loss")
    if found is None or log_loss is None or not found.gain.above:
        return
    if found.gain.value < LEAST_GAIN * log_loss.value or found.error.low <= found.null:
        return
    over = found.temperature > 1
    yield Finding(
        name="over_confident" if over else "under_confident",
        severity="warning",
        symptom=f"Probabilities are too {'extreme' if over else 'cautious'}: ece {found.error.value:.3g}, where "
        f"exact ones would show {found.null:.3g} on as many rows. Dividing the logits by {found.temperature:.3g}, as "
        f"fitted on the validation rows, lowers the test log loss by {found.gain.value:.3g} "
        f"({found.gain.low:.3g} … {found.gain.high:.3g}, paired).",
        evidence={
            "temperature": found.temperature,
            "gain in log loss": found.gain.to_dict(),
            "ece": found.error.to_dict(),
            "ece of exact probabilities": found.null,
        },
        ruled_out={"chance": "the paired interval of the gain excludes 0, and that of ece its null"},
        fixes=["monitor=val/log_loss"] if over and evidence.monitor != "log_loss" else [],
    )
