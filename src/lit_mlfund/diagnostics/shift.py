"""Judges what has moved between training and the later splits: a shift is a warning only where it costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from lit_mlfund.diagnostics.evidence import Evidence
from lit_mlfund.diagnostics.finding import Finding
from lit_mlfund.diagnostics.measures.data_evidence import Cost, DataEvidence
from lit_mlfund.diagnostics.measures.interval import Measure

COSTLY = 0.03  # of the loss of a constant, from which a change costs enough for a warning
TOLD_APART = 0.55  # area under the curve, from which rows of two splits differ by more than a trifle
FEW_ALIKE = 30.0  # rows like those of training, below which nothing can be said of them
RARE = 1e-3  # chance of a difference of the targets between splits drawn alike
# distance of the targets worth a word: of classes, and in standard deviations
LABELS = {True: 0.03, False: 0.1}
MOST_TOLD = 3
HARMLESS = "It costs nothing that can be seen."


def shift(evidence: Evidence) -> Iterator[Finding]:
    """Yield what has moved, the more particular causes before the general ones."""
    data = evidence.data
    if data is None:
        return
    found = [*_units(data), *_filled(data), *_unseen(data)]
    yield from found
    explained = {column for finding in found for column in finding.evidence if finding.severity == "warning"}
    loud = [finding for finding in found if finding.severity == "warning"]
    yield from _covariates(data, explained)
    yield from _relation(data, bool(loud))
    yield from _labels(data)


def exclude(data: DataEvidence, columns: list[str]) -> list[str]:
    """Return the override that leaves columns out, beside those that are left out already."""
    return [f"data.exclude=[{','.join(dict.fromkeys([*data.excluded, *columns]))}]"] if columns else []


def costs(cost: Measure, least: float = COSTLY) -> bool:
    """Return whether a cost is there beyond its interval, and large enough to matter."""
    return cost.above and cost.value >= least


def _percent(cost: Measure) -> str:
    return f"{cost.value:.1%} ({cost.low:.1%} … {cost.high:.1%})"


RULED_OUT = {
    "chance": "at most 1 in 100 columns that are called shifted is so by chance; intervals exclude 0"
}


def _units(data: DataEvidence) -> Iterator[Finding]:
    # where undoing it makes predictions no better, the values have spread indeed
    units = sorted(
        (unit for unit in data.units if costs(unit.gain) or math.isnan(unit.gain.value)),
        key=lambda unit: -(unit.gain.value if math.isfinite(unit.gain.value) else 0.0),
    )
    if not units:
        return
    worst = units[0]
    shown = _first_of_each(units)
    loud = [unit for unit in units if costs(unit.gain)]
    told = "; ".join(
        f"{unit.column} in {unit.split} has {unit.factor:.4g} times the scale it has in training"
        for unit in shown[:MOST_TOLD]
    )
    yield Finding(
        name="unit_change",
        severity="warning" if loud else "info",
        symptom=f"{told}, and its shape apart from that: another unit. "
        + (f"Undoing it saves {_percent(worst.gain)} of the loss of a constant." if loud else HARMLESS),
        evidence={
            unit.column: {
                "split": unit.split,
                "factor": unit.factor,
                "stability index": unit.psi,
                "in the scale of training": unit.psi_after,
                "gain": unit.gain.to_dict(),
            }
            for unit in shown
        },
        ruled_out=RULED_OUT
        | {"covariate_shift": "in the scale of training, the column is distributed as there"},
        fixes=exclude(data, list(dict.fromkeys(unit.column for unit in loud))),
    )


def _filled(data: DataEvidence) -> Iterator[Finding]:
    # a value that training has, too, is no default where it costs nothing
    filled = [part for part in data.filled if costs(part.cost) or not part.share_train]
    if not filled:
        return
    filled.sort(key=lambda part: -_known(part.cost))
    loud = [part for part in filled if costs(part.cost)]
    shown = _first_of_each(filled)
    told = "; ".join(
        f"{part.column} is {part.value:.6g} in {part.share:.0%} of the {part.split} rows, and in "
        f"{part.share_train:.1%} of training"
        for part in shown[:MOST_TOLD]
    )
    yield Finding(
        name="filled_with_default",
        severity="warning" if loud else "info",
        symptom=f"{told}: a default in the place of values that are missing. "
        + (f"These rows add {_percent(loud[0].cost)} of the loss of a constant." if loud else HARMLESS),
        evidence={
            part.column: {
                "split": part.split,
                "value": part.value,
                "share": part.share,
                "cost": part.cost.to_dict(),
            }
            for part in shown
        },
        ruled_out={"chance": "the shares differ by more than four standard errors"},
        fixes=exclude(data, list(dict.fromkeys(part.column for part in loud))),
    )


def _unseen(data: DataEvidence) -> Iterator[Finding]:
    unseen = sorted(data.unseen, key=lambda part: -_known(part.cost))
    loud = [part for part in unseen if costs(part.cost)]
    shown = _first_of_each(unseen)
    if not shown and not data.dropped:
        return
    told = [
        f"{part.share:.0%} of the {part.split} rows have a value of {part.column} that no row of training has, such as "
        f"{part.example!r}"
        for part in shown[:MOST_TOLD]
    ]
    told += [f"{column} is left out: {reason}" for column, reason in list(data.dropped.items())[:MOST_TOLD]]
    if loud:
        told.append(f"such rows add {_percent(loud[0].cost)} of the loss of a constant")
    yield Finding(
        name="category_unseen",
        severity="warning" if loud else "info",
        symptom="; ".join(told) + ".",
        evidence={
            part.column: {"split": part.split, "share": part.share, "cost": part.cost.to_dict()}
            for part in shown
        }
        | dict(data.dropped),
        ruled_out={"rare values": "the model takes those for unknown in training, too"},
        fixes=exclude(data, list(dict.fromkeys(part.column for part in loud))),
    )


def _first_of_each(parts: Iterable[Any]) -> list[Any]:
    """Return the first part of each column, in their order."""
    first: dict[str, Any] = {}
    for part in parts:
        first.setdefault(part.column, part)
    return list(first.values())


def _known(cost: Measure) -> float:
    return cost.value if math.isfinite(cost.value) else -math.inf


def _covariates(data: DataEvidence, explained: set[str]) -> Iterator[Finding]:
    shifts = sorted(
        (part for part in data.columns if part.column not in explained), key=lambda part: -part.psi
    )
    cost = next((part for part in data.costs if part.split == "test"), None)
    apart = cost is not None and cost.auroc.low > TOLD_APART
    if not shifts and not apart:
        return
    loud = cost is not None and apart and costs(cost.total) and _by_features(cost) and not explained
    shown = _first_of_each(shifts)
    told = (
        "Rows of test are told from rows of training"
        if not shown
        else (
            f"{', '.join(part.column for part in shown[:MOST_TOLD])} "
            f"{'is' if len(shown) == 1 else 'are'} distributed otherwise in {shown[0].split} than in training"
        )
    )
    if cost is not None and loud:
        told += f", and that costs {_percent(cost.total)} of the loss of a constant"
    elif cost is not None:
        told += (
            ", which costs nothing that can be seen" if not costs(cost.total) else ", which is not what costs"
        )
    facts = {
        part.column: {
            "split": part.split,
            "stability index": part.psi,
            "of splits drawn alike": part.null,
            "false alarms": part.q,
        }
        for part in shown[:10]
    }
    yield Finding(
        name="covariate_shift",
        severity="warning" if loud else "info",
        symptom=f"{told}.",
        evidence=facts | _facts(cost),
        ruled_out=RULED_OUT
        | (
            {"time_drift": "the loss is that of training on the rows that are like those of training"}
            if loud
            else {}
        ),
    )


def _by_features(cost: Cost) -> bool:
    """Return whether the loss is gone where rows count as they would in training, or no row is like those of it."""
    return cost.effective < FEW_ALIKE or (cost.features.above and cost.features.value >= cost.total.value / 2)


def _facts(cost: Cost | None) -> dict[str, object]:
    if cost is None:
        return {}
    return {
        "cost, over the loss of a constant": cost.total.to_dict(),
        "of it by features": cost.features.to_dict(),
        "of it by their relation to the target": cost.relation.to_dict(),
        "auroc of telling test from training": cost.auroc.to_dict(),
        "threshold": COSTLY,
    }


def _relation(data: DataEvidence, explained: bool) -> Iterator[Finding]:
    """Report a relation of features and target that is another one later."""
    cost = next((part for part in data.costs if part.split == "test"), None)
    if cost is None or explained:
        return
    aged = costs(data.recent)
    moved = costs(cost.total) and costs(cost.relation) and cost.effective >= FEW_ALIKE
    if data.by == "time" and (aged or moved):
        told = []
        if aged:
            told.append(
                f"a model of the latest half of training does better on test than one of the earliest half, by "
                f"{_percent(data.recent)} of the loss of a constant"
            )
        if moved:
            told.append(
                f"rows of test that are like those of training are predicted worse, by {_percent(cost.relation)} of it"
            )
        yield Finding(
            name="time_drift",
            severity="warning",
            symptom=f"What holds of the target changes with time: {'; '.join(told)}.",
            evidence={"gain of recent rows": data.recent.to_dict()} | _facts(cost),
            ruled_out={
                "chance": "the intervals exclude 0",
                "more rows": "both halves of training have as many",
                "overfitting": "rows of training were held out of the fit, too",
            },
        )
    elif moved and data.by in ("files", "group"):
        yield Finding(
            name="label_shift",
            severity="warning",
            symptom="The target has another relation to the features in test than in training: rows that are alike are "
            f"predicted worse, by {_percent(cost.relation)} of the loss of a constant.",
            evidence=_facts(cost),
            ruled_out={
                "chance": "the interval excludes 0",
                "covariate_shift": "only rows like those of training count",
            },
        )


def _labels(data: DataEvidence) -> Iterator[Finding]:
    classes = data.task in ("binary", "multiclass")
    moved = [part for part in data.labels if part.p < RARE and part.distance >= LABELS[classes]]
    if not moved:
        return
    worst = max(moved, key=lambda part: (part.split == "test", _known(part.gain)))
    loud = worst.split == "test" and costs(worst.gain, COSTLY / 2)
    quiet = HARMLESS if worst.split == "test" else "That of test is not."
    what = (
        f"{worst.distance:.1%} of the rows would have to change class"
        if classes
        else (f"its mean differs by {worst.distance:.2g} standard deviations")
    )
    yield Finding(
        name="label_shift",
        severity="warning" if loud else "info",
        symptom=f"The target is distributed otherwise in {worst.split} than in training: {what}. "
        + (
            f"Moving the predictions to {'the later shares' if classes else 'the later mean'} saves "
            f"{_percent(worst.gain)} of the loss of a constant."
            if loud
            else quiet
        ),
        evidence={
            part.split: {"distance": part.distance, "chance": part.p, "gain": part.gain.to_dict()}
            for part in moved
        },
        ruled_out={"chance": f"it has a chance of {worst.p:.1g}"},
    )
