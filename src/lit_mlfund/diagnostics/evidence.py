"""Defines what the rules of the doctor read: plain frozen dataclasses, to and from JSON."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from lit_mlfund.diagnostics.measures.data_evidence import DataEvidence
from lit_mlfund.diagnostics.measures.interval import Measure as Measure

FORMAT = 1
Measures = dict[str, Measure]  # by metric


@dataclass(frozen=True)
class Layer:
    """Describes a group of parameters over the training; numbers are None where they were not measured.

    trainable      whether any parameter of it requires a gradient
    gradient       norm of its gradient, the largest of the sampled steps
    update         median over the sampled steps of ‖Δw‖ / (‖w‖ + ‖Δw‖)
    moved          ‖w − w₀‖ / max(‖w₀‖, ‖w‖) between the first and the last step
    shrunk         ‖w‖ / ‖w₀‖ at the last step
    """

    name: str
    trainable: bool
    gradient: float | None = None
    update: float | None = None
    moved: float | None = None
    shrunk: float | None = None


@dataclass(frozen=True)
class Checks:
    """Holds what was tried on the trained module with a few rows; None where that was not possible.

    repeated       largest difference between two evaluations of the same rows in evaluation mode
    raw_low/high   range of the outputs that the loss receives
    raw_sums_to_1  whether the outputs of each row sum to 1 (several classes)
    raw_is_linear  whether the last operation of the model is linear, so that its outputs have no bounds
    on_logits      whether the loss takes logits
    dead           layer -> share of its units that are zero on all rows
    scales         input column -> its standard deviation on the rows
    largest        input column -> its largest absolute value
    """

    repeated: float | None = None
    raw_low: float | None = None
    raw_high: float | None = None
    raw_sums_to_1: bool = False
    raw_is_linear: bool = False
    on_logits: bool = False
    dead: dict[str, float] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration:
    """Compares predicted probabilities with what happened on the test rows.

    temperature    by which logits would be divided, fitted on the validation rows
    gain           by how much that lowers the log loss of the test rows, paired
    null           calibration error that exact probabilities would show on as many rows
    """

    temperature: float
    gain: Measure
    error: Measure
    null: float


@dataclass(frozen=True)
class LearningCurve:
    """Holds a metric of the test rows after trainings on parts of the training rows, and what follows from it.

    rows     training rows of each training, the run itself first
    values   the metric after each
    gain     by how much twice the rows of the run would improve the metric
    limit    value that no number of rows would exceed
    """

    metric: str
    rows: list[int]
    values: list[float]
    gain: Measure
    limit: float


@dataclass(frozen=True)
class Probes:
    """Holds by how much a fix improved a metric of the validation rows, paired: fix -> gain."""

    metric: str
    gains: Measures


@dataclass(frozen=True)
class NonFinite:
    """Describes the step that was not taken because its loss or gradient is not finite, as it was replayed.

    phase       where the first value that is not finite appears: input, target, weights, forward, backward or unknown
    operation   name of the operation that made it, such as `log`
    layer       module in which that operation was called, such as `model.body.0` or `loss`
    zero        whether an argument of the operation is zero (log, sqrt) or divides by zero
    negative    whether an argument of a logarithm or root is negative
    overflow    whether it is a finite number too large for its type
    column      column of the input, where that is at fault
    rows        rows of the user's file
    largest     largest absolute finite value of the batch's inputs, and its column
    weights     largest absolute weight before the step
    norms       total gradient norms of the last steps before it
    """

    step: int
    loss: float
    norm: float
    phase: str = "unknown"
    operation: str = ""
    layer: str = ""
    zero: bool = False
    negative: bool = False
    overflow: bool = False
    column: str = ""
    rows: list[int] = field(default_factory=list)
    largest: float = math.nan
    largest_column: str = ""
    weights: float = math.nan
    norms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Evidence:
    """Holds all that the doctor knows of a run; its rules read nothing else.

    monitor       monitored metric without its split
    directions    metric -> `max` or `min`
    settings      values of the configuration that fixes start from
    rows          split -> number of rows (queries, for ranking and retrieval)
    splits        split (`val`, `test`) -> metric -> value with its interval
    training      the same of at most 10,000 rows of the training split, in evaluation mode
    initial       metrics of training rows before the first step, in evaluation mode
    references    reference -> metric, on the test rows
    gains         reference -> metric -> how much better this model is, paired on the test rows
    floor_gains   reference -> metric -> how much better it is than the constant, random or unigram predictor
    history       logged values after each epoch
    losses        training loss by step, as logged
    batch_spread  variance of the mean target of a served batch, over that of a random batch
    updates       by sampled step the largest update-to-weight ratio of a layer
    leftover      typical norm of the gradient before a backward pass, over that of the gradient that is added to it
    loading       seconds that training waited for batches (`waited`) and took its steps (`worked`)
    learning_curve  trainings on parts of the training rows, where they were asked for
    probes        trainings with one fix each, where there was time for them
    data          what comparing the splits and looking at single rows has shown; None where that was not possible
    others        findings of other parts of the run, which are passed on
    missing       what was not measured, and why
    cost          seconds that were spent on this evidence, by part
    """

    task: str
    monitor: str
    directions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    splits: dict[str, Measures] = field(default_factory=dict)
    training: Measures = field(default_factory=dict)
    initial: dict[str, float] = field(default_factory=dict)
    references: dict[str, Measures] = field(default_factory=dict)
    gains: dict[str, Measures] = field(default_factory=dict)
    floor_gains: dict[str, Measures] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[dict[str, float]] = field(default_factory=list)
    batch_spread: float | None = None
    updates: list[float] = field(default_factory=list)
    leftover: float | None = None
    loading: dict[str, float] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    checks: Checks = field(default_factory=Checks)
    calibration: Calibration | None = None
    learning_curve: LearningCurve | None = None
    probes: Probes | None = None
    nonfinite: NonFinite | None = None
    failure: str = ""
    data: DataEvidence | None = None
    others: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python, for `evidence.json`."""
        plain: dict[str, Any] = _plain(self)
        return plain

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Restore evidence from parsed JSON, where a number that is not finite is null.

        Raises:
            ValueError: it was written by another version, or is damaged.
        """
        if state.get("format") != FORMAT:
            raise ValueError(f"format {state.get('format')} is not known, only {FORMAT}")
        try:
            restored: Self = _restore(cls, state)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"damaged: {error}") from error
        return restored


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value


def _restore(hint: Any, value: Any) -> Any:
    """Build what `hint` describes from plain values."""
    if hint is float:
        return math.nan if value is None else float(value)
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        names = [entry.name for entry in fields(hint) if entry.name in value]
        return hint(**{name: _restore(hints[name], value[name]) for name in names})
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (part for part in parts if part is not type(None))
        return None if value is None else _restore(inner, value)
    if origin is dict:
        return {name: _restore(parts[1], part) for name, part in value.items()}
    if origin is list:
        return [_restore(parts[0], part) for part in value]
    return value
