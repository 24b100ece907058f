"""Judges single rows: labels that are wrong, and rows that carry most of the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.finding import Finding
from lit_mlfund.diagnostics.measures.data_evidence import Heavy

LEAST_WRONG = 0.03  # of the labels
STATISTIC = 6.0  # twice the gain in log-likelihood, which overlapping classes hardly ever exceed
FEW = 0.01  # of all rows, that carry half of the loss
SELDOM = 4.0  # times fewer than there would be if errors were as expected
FAR = {True: 4.0, False: 9.0}  # mean loss of heavy rows over the constant's: of classes, and of numbers


def labels(evidence: Evidence) -> Iterator[Finding]:
    """Yield what is wrong with single rows, as rows of the user's file."""
    yield from _noise(evidence)
    if evidence.data is not None:
        heavy = [part for part in evidence.data.heavy if _is_heavy(part, evidence.task)]
        if heavy:
            yield _heavy(evidence, min(heavy, key=lambda part: part.count / part.total))


def _noise(evidence: Evidence) -> Iterator[Finding]:
    noise = evidence.data.noise if evidence.data is not None else None
    if noise is None or noise.share.low < LEAST_WRONG or noise.statistic < STATISTIC:
        return
    if math.isfinite(noise.model.value) and noise.model.high < noise.share.low:
        return  # the trained model is surer, and right
    smoothing = evidence.settings.get("loss") in ("BinaryCrossEntropyLoss", "CrossEntropyLoss")
    yield Finding(
        name="label_noise",
        severity="warning",
        symptom=f"About {noise.share.value:.0%} ({noise.share.low:.0%} … {noise.share.high:.0%}) of the labels are "
        f"wrong: so many disagree even where predictions are surest. {noise.suspects:,} of {noise.looked_at:,} "
        "training rows look wrong.",
        evidence={
            "share": noise.share.to_dict(),
            "share by the trained model": noise.model.to_dict(),
            "statistic": noise.statistic,
            "thresholds": {"share": LEAST_WRONG, "statistic": STATISTIC},
        },
        ruled_out={
            "classes that overlap": "their errors vanish as the margin grows, these do not",
            "overfitting": "each row was judged by a model that has not seen it",
        },
        fixes=["loss.label_smoothing=0.1"] if smoothing else [],
        rows=noise.rows,
    )


def _is_heavy(part: Heavy, task: str) -> bool:
    far = part.loss >= FAR[task in ("binary", "multiclass")]
    return far and part.count <= max(FEW * part.total, 1.0) and part.count * SELDOM <= part.expected


def _heavy(evidence: Evidence, part: Heavy) -> Finding:
    mse = evidence.settings.get("loss") == "MSELoss"
    return Finding(
        name="heavy_rows",
        severity="warning",
        symptom=f"{part.count:,} of {part.total:,} {part.split} rows carry more than half of the loss, where "
        f"{part.expected:,.0f} would be expected: look at them in the file.",
        evidence={
            "rows": part.count,
            "expected": part.expected,
            "of": part.total,
            "their loss over the constant's": part.loss,
            "thresholds": [FEW, SELDOM],
        },
        ruled_out={"chance": "errors that are as predicted, or normal, are not so far apart"},
        fixes=["loss=huber"] if mse else [],
        rows=part.rows,
    )
