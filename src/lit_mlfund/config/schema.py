"""Defines the schema of a composed configuration: its top-level values, and what each section builds."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from math import inf, isfinite
from typing import Literal

from lit_mlfund.config.type_hints import Hint, parse


@dataclass
class Values:
    """Declares the values beside the sections."""

    shape: Literal["binary", "multiclass", "regression", "ranking", "retrieval"]
    """Shape of the task: binary, multiclass, regression, ranking or retrieval; data, losses and models must fit it."""
    name: str
    """Free-form part of the name of the run folder."""
    seed: int
    """Seed of every random number of the run; 0 is a seed like any other."""
    runs_dir: str
    """Folder in which run folders are created."""
    monitor: str
    """Name of the value that decides which checkpoint is best: `val/` and a metric of the task, or `val/loss`."""
    run: str | None = None
    """Run folder to resume (interrupted) or to repeat (finished)."""
    train: bool = True
    """Fit the model."""
    test: bool = True
    """Measure a checkpoint on the test split."""
    checkpoint: Literal["best", "last"] = "best"
    """Checkpoint to measure: that of the best monitored value, or the last, which involves no selection."""
    blend: Literal["boosting"] | None = None
    """Model that the predictions of the network are averaged with, by the share that is best on validation."""
    references: bool = True
    """Fit the reference models on the same split."""
    references_seconds: float | None = 60.0
    """Time for each reference model; one that takes longer is left out, and said to be."""


VALUES: dict[str, Hint] = {value.name: parse(str(value.type)) for value in fields(Values)}
DEFAULTS = {value.name: value.default for value in fields(Values) if value.default is not MISSING}


@dataclass(frozen=True)
class Range:
    """Bounds a number, or each number of a list, in `words`: `least` is allowed unless `above`, `limit` is not."""

    words: str
    least: float = 0.0
    above: bool = False
    limit: float = inf

    def problem(self, value: object) -> str | None:
        """Return what is wrong with a value, None where nothing is or it is no number."""
        for number in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                continue
            if not isfinite(number):
                return f"must be a finite number, got {number}"
            if not self.least <= number < self.limit or (self.above and number == self.least):
                return f"{self.words}, got {number}"
        return None


POSITIVE = Range("must be above 0", above=True)
NOT_NEGATIVE = Range("must not be negative")
SHARE = Range("must be from 0 to below 1", limit=1.0)
RATES = {
    "lr": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "momentum": SHARE,
    "betas": SHARE,
    "eps": NOT_NEGATIVE,
    "clip": POSITIVE,
}


@dataclass(frozen=True)
class Section:
    """Describes a group of the configuration: one node with a `_target_`, or several by name.

    supplied      arguments that the program passes; the target has to take them
    offered       arguments that the program passes to targets that take them
    own           keys that the program reads itself, with their type
    placeholders  by parameter of the target, words that the program replaces with a value
    ranges        by parameter of our targets and of torch's, what is possible
    """

    several: bool = False
    optional: bool = False
    supplied: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    own: dict[str, Hint] = field(default_factory=dict)
    placeholders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ranges: dict[str, Range] = field(default_factory=dict)


SECTIONS: dict[str, Section] = {
    "task": Section(supplied=("model", "loss", "spec", "optimizer", "schedule", "monitor")),
    "loss": Section(),
    "optim": Section(
        supplied=("params",),
        own={"lr_by_pattern": parse("dict[str, float]")},
        placeholders={"lr": ("auto", "by_rows"), "weight_decay": ("by_rows",)},
        ranges=RATES,
    ),
    "schedule": Section(optional=True, supplied=("optimizer",), offered=("num_steps", "mode")),
    "regularization": Section(several=True),
    "model": Section(offered=("spec",)),
    "embedding": Section(optional=True, ranges=RATES | {"lr": NOT_NEGATIVE}),
    "data": Section(),
    # preferences of the data set, in effect unless something else is chosen
    "recommended": Section(
        several=True,
        own={
            "max_epochs": parse("int | Literal['by_rows']"),
            "lr": parse("float | Literal['by_rows']"),
            "weight_decay": parse("float | Literal['by_rows']"),
            "monitor": Hint("str"),
            "module": Hint("str"),
        },
    ),
    "trainer": Section(
        supplied=("callbacks", "logger", "default_root_dir"), placeholders={"max_epochs": ("by_rows",)}
    ),
    "callbacks": Section(several=True),
    "logger": Section(
        several=True, offered=("save_dir",), own={"tensorboard": Hint("bool"), "card": Hint("bool")}
    ),
    "doctor": Section(
        optional=True, ranges={"rows": Range("must be at least 1", least=1), "budget_s": NOT_NEGATIVE}
    ),
    "sweep": Section(optional=True, supplied=("plan",)),
    "decompose": Section(
        optional=True,
        supplied=("plan",),
        ranges={
            "replicas": Range("must be at least 2", least=2),
            "initialisations": Range("must be at least 1", least=1),
            "noise": NOT_NEGATIVE,
        },
    ),
    "claim": Section(optional=True),
    # what `mlfund plan` assumes; other verbs do not read it
    "plan": Section(
        several=True,
        own={
            "device": parse("str | dict[str, float] | None"),
            "efficiency": Hint("float"),
            "headroom": Hint("float"),
            "vocabulary": parse("int | None"),
            "rows": parse("int | None"),
        },
        ranges={
            "efficiency": Range("must be above 0 and at most 1", above=True, limit=1.0 + 1e-9),
            "headroom": SHARE,
            "vocabulary": Range("must be at least 1", least=1),
            "rows": Range("must be at least 1", least=1),
        },
    ),
}
