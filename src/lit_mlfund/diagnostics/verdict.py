"""Derives findings from a run's measurements. Every rule compares intervals, never bare numbers."""

from __future__ import annotations

import math

from lit_mlfund.diagnostics.finding import Finding

Measured = dict[str, dict[str, float]]
# least share of the whole improvement that the last epoch must bring for training to count as cut short
MIN_RECENT_SHARE = 0.05


def diverged(reason: str) -> Finding:
    """Report that the training loss stopped being finite."""
    return Finding(
        name="diverged",
        severity="error",
        symptom=f"Training diverged: {reason}.",
        fixes=["optim.lr=1e-4", "trainer.gradient_clip_val=0.5", "schedule.warmup_fraction=0.1"],
    )


def changed_data(changes: list[str]) -> Finding:
    """Report that files have changed since the run read them."""
    return Finding(
        name="changed_data",
        severity="warning",
        symptom="; ".join(changes) + ".",
        ruled_out={
            "figures of other rows": "training and measurement used the rows of the files as they were first read"
        },
    )


def findings(
    metric: str,
    mode: str,
    splits: dict[str, Measured],
    references: dict[str, dict[str, Measured]],
    history: list[dict[str, float]],
    max_epochs: int,
) -> list[Finding]:
    """Return all findings on a finished run.

    Args:
        metric: the monitored metric without its split, such as `auroc`.
        mode: `max` or `min`: whether larger or smaller is better.
        splits: split -> metric -> value, low, high.
        references: reference -> split -> metric -> value, low, high.
        history: the logged values of each epoch.
        max_epochs: how many epochs were allowed.
    """
    if metric == "loss":
        return []
    candidates = [
        _undefined(metric, splits),
        _against_references(metric, mode, splits["test"], {n: s["test"] for n, s in references.items()}),
        _shift(metric, mode, splits),
        _unfinished(metric, mode, splits["val"][metric], history, max_epochs),
    ]
    return [finding for finding in candidates if finding is not None]


def _defined(*measured: dict[str, float]) -> bool:
    """Check whether the values and both ends of their intervals are numbers."""
    return all(math.isfinite(entry[key]) for entry in measured for key in ("value", "low", "high"))


def _undefined(metric: str, splits: dict[str, Measured]) -> Finding | None:
    """Report a metric without a value, such as the AUROC of rows that are all of one class: the monitored one first."""
    known = [metric, *(name for name in next(iter(splits.values()), {}) if name != metric)]
    by_metric = (
        [f"{split}/{name}" for split, measured in splits.items() if math.isnan(measured[name]["value"])]
        for name in known
    )
    names = next(filter(None, by_metric), None)
    if names is None:
        return None
    told = " and ".join(names)
    return Finding(
        name="undefined_metric",
        severity="warning",
        symptom=f"{told} cannot be computed on these rows, so the model could not be judged by it: a split may hold "
        "one class only, or nothing that varies.",
        evidence={name: None for name in names},
    )


def _better(a: dict[str, float], b: dict[str, float], mode: str) -> bool:
    """Check whether `a` is better than `b` beyond both intervals."""
    return a["low"] > b["high"] if mode == "max" else a["high"] < b["low"]


def _against_references(
    metric: str, mode: str, model: Measured, references: dict[str, Measured]
) -> Finding | None:
    known = {name: values[metric] for name, values in references.items() if metric in values}
    better = {name: value for name, value in known.items() if _better(value, model[metric], mode)}
    if better:
        best = (max if mode == "max" else min)(better, key=lambda name: better[name]["value"])
        return Finding(
            name="worse_than_reference",
            severity="warning",
            symptom=(
                f"{best} reaches test/{metric} {better[best]['value']:.4g}, this model {model[metric]['value']:.4g}: "
                "the features hold more information than the model uses."
            ),
            evidence={f"model/{metric}": model[metric], **{f"{n}/{metric}": v for n, v in better.items()}},
            ruled_out={
                "chance": "the two 95 % intervals do not overlap",
                "other rows": "both were fitted and measured on the same splits",
            },
            fixes=["optim.lr=3e-3", "trainer.max_epochs=30", "optim.lr=3e-4"],
        )
    floor = {name: known[name] for name in ("constant", "random", "unigram") if name in known}
    for name, value in floor.items():
        if _defined(model[metric], value) and not _better(model[metric], value, mode):
            return Finding(
                name="no_signal",
                severity="error",
                symptom=f"In test/{metric} the model is not distinguishable from the {name} predictor.",
                evidence={f"model/{metric}": model[metric], f"{name}/{metric}": value},
                fixes=["optim.lr=3e-3", "trainer.max_epochs=30"],
            )
    return None


def _shift(metric: str, mode: str, splits: dict[str, Measured]) -> Finding | None:
    val, test = splits["val"][metric], splits["test"][metric]
    if not _better(val, test, mode):
        return None
    return Finding(
        name="validation_promises_more",
        severity="warning",
        symptom=f"val/{metric} is {val['value']:.4g} but test/{metric} {test['value']:.4g}: the test rows differ from "
        "the validation rows that selected the model. Where rows have a time or belong together, split by that.",
        evidence={f"val/{metric}": val, f"test/{metric}": test},
        ruled_out={"chance": "the two 95 % intervals do not overlap"},
    )


def _unfinished(
    metric: str, mode: str, val: dict[str, float], history: list[dict[str, float]], max_epochs: int
) -> Finding | None:
    values = [epoch[f"val/{metric}"] for epoch in history if f"val/{metric}" in epoch]
    if len(values) < 3 or len(values) < max_epochs:
        return None
    sign = 1 if mode == "max" else -1
    total = sign * (values[-1] - values[0])
    recent = sign * (values[-1] - values[-2])
    if not total > (val["high"] - val["low"]) / 2 or not recent >= MIN_RECENT_SHARE * total:
        return None  # as where a value is NaN, or nothing has changed: a perfect metric has an interval of no width
    return Finding(
        name="stopped_while_improving",
        severity="info",
        symptom=f"val/{metric} was still improving in the last of {max_epochs} epochs.",
        evidence={"last epoch's share of all improvement": recent / total, "threshold": MIN_RECENT_SHARE},
        ruled_out={"noise": "the whole improvement is wider than half the 95 % interval"},
        fixes=[f"trainer.max_epochs={2 * max_epochs}"],
    )
