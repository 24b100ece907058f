"""Ranks what the rules found: the cause first, its consequences behind it, and nothing twice."""

from __future__ import annotations

import dataclasses
import math

from lit_mlfund.diagnostics.calibration import calibration
from lit_mlfund.diagnostics.evidence import Evidence, Measures
from lit_mlfund.diagnostics.finding import Finding
from lit_mlfund.diagnostics.fit import fit
from lit_mlfund.diagnostics.implementation import implementation
from lit_mlfund.diagnostics.labels import labels
from lit_mlfund.diagnostics.leakage import leakage
from lit_mlfund.diagnostics.learning_curve import learning_curve
from lit_mlfund.diagnostics.nonfinite import nonfinite
from lit_mlfund.diagnostics.optimisation import recent_share
from lit_mlfund.diagnostics.shift import shift

# what a model shows whose training and test rows are not of one kind
OF_DATA = (
    "overfitting",
    "limited_by_data",
    "too_small",
    "stopped_too_early",
    "over_confident",
    "under_confident",
    "inconclusive",
    "no_signal",
)
# cause that lies in the data -> what follows from it, if it is a warning
IN_DATA = {
    "target_leakage": (*OF_DATA, "row_number_feature", "learning_rate_too_low", "heavy_rows", "label_noise"),
    "row_number_feature": (*OF_DATA, "covariate_shift", "time_drift"),
    "duplicates_across_splits": (*OF_DATA, "group_overlap", "label_noise"),
    "group_overlap": OF_DATA,
    "unit_change": (
        *OF_DATA,
        "covariate_shift",
        "filled_with_default",
        "label_shift",
        "time_drift",
        "heavy_rows",
    ),
    "filled_with_default": (*OF_DATA, "covariate_shift", "label_shift", "time_drift"),
    "category_unseen": (*OF_DATA, "covariate_shift", "label_shift", "time_drift"),
    "covariate_shift": (*OF_DATA, "label_shift"),
    "time_drift": (*OF_DATA, "label_shift", "covariate_shift"),
    "label_shift": OF_DATA,
    "label_noise": ("heavy_rows", "over_confident", "under_confident", "inconclusive"),
}
# cause -> what follows from it, which is no problem of its own
CONSEQUENCES = {
    "overfitting": ("over_confident",),
    "double_softmax": (
        "under_confident",
        "too_small",
        "learning_rate_too_low",
        "stopped_too_early",
        "no_signal",
    ),
    "data_not_shuffled": (
        "learning_rate_too_high",
        "too_small",
        "no_signal",
        "over_confident",
        "under_confident",
    ),
    "validation_in_training_mode": ("too_small", "over_regularised", "under_confident", "no_signal"),
    "wild_feature_scale": (
        "too_small",
        "learning_rate_too_low",
        "dead_units",
        "learning_rate_too_high",
        "no_signal",
    ),
    "learning_rate_too_high": ("over_confident", "under_confident"),
    "learning_rate_too_low": ("under_confident",),
    "over_regularised": ("under_confident",),
    "stopped_too_early": ("under_confident",),
}
ORDER = {"error": 0, "warning": 1, "info": 2}


def verdict(evidence: Evidence) -> list[Finding]:
    """Return all findings on a run, from its evidence alone; the first is the cause of those that say so."""
    stopped = nonfinite(evidence)
    others = [Finding(**finding) for finding in evidence.others]
    if stopped is not None:
        return [stopped, *others]
    in_data = [*leakage(evidence), *shift(evidence), *labels(evidence)]
    found = [*_undefined(evidence), *(finding for finding in in_data if finding.severity != "info")]
    if evidence.splits:
        found += [
            *implementation(evidence),
            *fit(evidence),
            *calibration(evidence),
            *_still_improving(evidence),
            *learning_curve(evidence),
        ]
        found += _val_and_test(evidence)
    found = _distinct([*found, *in_data, *others])
    found.sort(
        key=lambda finding: ORDER[finding.severity]
    )  # stable: rules are in the order of cause and consequence
    found = _because(found)
    if any(finding.severity != "info" for finding in found):
        found = [finding for finding in found if finding.name not in ("healthy", "inconclusive")]
    return _by_gain(found, evidence)


def _distinct(found: list[Finding]) -> list[Finding]:
    """Keep the first finding of each name."""
    return list({finding.name: finding for finding in reversed(found)}.values())[::-1]


def _because(found: list[Finding]) -> list[Finding]:
    """Turn consequences of another finding into notes that name it, behind all causes."""
    follow = {
        finding.name: CONSEQUENCES.get(finding.name, ())
        + (IN_DATA.get(finding.name, ()) if finding.severity != "info" else ())
        for finding in found
    }
    causes, consequences = [], []
    for finding in found:
        cause = next((name for name, effects in follow.items() if finding.name in effects), None)
        if cause is None:
            causes.append(finding)
        else:
            evidence = {**finding.evidence, "because_of": cause}
            consequences.append(dataclasses.replace(finding, severity="info", evidence=evidence, fixes=[]))
    return causes + consequences


def _by_gain(found: list[Finding], evidence: Evidence) -> list[Finding]:
    """Return the findings with fixes that helped first, then those that were not tried, then those that did not help.

    The measured gains are added to the evidence of a finding.
    """
    probes = evidence.probes
    if probes is None:
        return found
    return [_by_own_gain(finding, probes.gains, probes.metric) for finding in found]


def _by_own_gain(finding: Finding, gains: Measures, metric: str) -> Finding:
    tried = {fix: gains[fix] for fix in finding.fixes if fix in gains}
    if not tried:
        return finding

    def rank(fix: str) -> tuple[int, float]:
        gain = gains[fix].value if fix in gains else 0.0
        return (0 if gain > 0 else 2 if fix in gains else 1), -gain

    told = {fix: gain.to_dict() for fix, gain in tried.items()}
    return dataclasses.replace(
        finding,
        fixes=sorted(finding.fixes, key=rank),  # stable: as before where nothing was measured
        evidence={**finding.evidence, f"gain in val/{metric} by fix": told},
    )


def _undefined(evidence: Evidence) -> list[Finding]:
    """Report a metric without a value, such as the AUROC of rows that are all of one class: the monitored one first."""
    known = [
        evidence.monitor,
        *dict.fromkeys(name for measured in evidence.splits.values() for name in measured),
    ]
    by_metric = (
        [
            f"{split}/{name}"
            for split, measured in evidence.splits.items()
            if name in measured and math.isnan(measured[name].value)
        ]
        for name in known
    )
    names = next(filter(None, by_metric), None)
    if names is None:
        return []
    return [
        Finding(
            name="undefined_metric",
            severity="warning",
            symptom=f"{' and '.join(names)} cannot be computed on these rows, so the model could not be judged by it: "
            "a split may hold one class only, or nothing that varies.",
            evidence={name: None for name in names},
        )
    ]


def _still_improving(evidence: Evidence) -> list[Finding]:
    """Note that the last epochs still brought something, where nothing is wrong."""
    share, epochs = recent_share(evidence), evidence.settings.get("trainer.max_epochs")
    if share is None or share < 0.05 or not isinstance(epochs, int):
        return []
    return [
        Finding(
            name="stopped_too_early",
            severity="info",
            symptom=f"val/{evidence.monitor} was still improving in the last of {epochs} epochs.",
            evidence={"share of all improvement in the last tenth of the epochs": share, "threshold": 0.05},
            ruled_out={"noise": "the whole improvement is wider than half the 95 % interval"},
            fixes=[f"trainer.max_epochs={2 * epochs}"],
        )
    ]


def _val_and_test(evidence: Evidence) -> list[Finding]:
    """Note that validation promised more than test kept; whether the rows have moved is not known here."""
    metric = evidence.monitor
    val, test = (evidence.splits.get(split, {}).get(metric) for split in ("val", "test"))
    if val is None or test is None:
        return []
    if not (val.low > test.high if evidence.directions.get(metric) == "max" else val.high < test.low):
        return []
    return [
        Finding(
            name="inconclusive",
            severity="info",
            symptom=f"val/{metric} is {val.value:.4g} but test/{metric} {test.value:.4g}, beyond both intervals: the "
            "test rows are harder, which alone is no fault of the model.",
            evidence={f"val/{metric}": val.to_dict(), f"test/{metric}": test.to_dict()},
            ruled_out={"chance": "the two 95 % intervals do not overlap"},
        )
    ]
