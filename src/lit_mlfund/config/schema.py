"""The shape of a composed configuration: its top-level values, and what each section of it is for."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Literal

from lit_mlfund.config.type_hints import Hint, parse


@dataclass
class Values:
    """The values beside the sections."""

    shape: str
    """Of the task: binary, multiclass, regression, ranking or retrieval; the data, losses and models of it fit."""
    name: str
    """A word of your own in the name of the run folder."""
    seed: int
    """What every random number of the run follows from; 0 is a seed like any other."""
    runs_dir: str
    """Where run folders are made."""
    monitor: str
    """What decides which checkpoint is best: `val/` and a metric of the task, or `val/loss`."""
    run: str | None = None
    """A run folder to resume (interrupted) or to repeat (finished)."""
    train: bool = True
    """Fit the model."""
    test: bool = True
    """Measure a checkpoint on the test split."""
    checkpoint: Literal["best", "last"] = "best"
    """Which one: that of the best monitored value, or the last, as if nobody had looked on the way."""
    references: bool = True
    """Fit the reference models on the same split."""


VALUES: dict[str, Hint] = {value.name: parse(str(value.type)) for value in fields(Values)}
DEFAULTS = {value.name: value.default for value in fields(Values) if value.default is not MISSING}


@dataclass(frozen=True)
class Section:
    """A group of the configuration: one node with a `_target_`, or several by name.

    supplied  arguments that the runtime gives; the target has to take them
    offered   arguments that the runtime gives to targets that take them
    own       keys that are read by the runtime itself, with their type
    words     words that the runtime puts a value in the place of, by parameter of the target
    """

    several: bool = False
    optional: bool = False
    supplied: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    own: dict[str, Hint] = field(default_factory=dict)
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)


SECTIONS: dict[str, Section] = {
    "task": Section(supplied=("model", "loss", "spec", "optimizer", "schedule", "monitor")),
    "loss": Section(),
    "optim": Section(
        supplied=("params",), own={"lr_by_pattern": parse("dict[str, float]")}, words={"lr": ("auto",)}
    ),
    "schedule": Section(optional=True, supplied=("optimizer",), offered=("num_steps", "mode")),
    "regularization": Section(several=True),
    "model": Section(offered=("spec",)),
    "embedding": Section(optional=True),
    "data": Section(),
    # what a data set asks for, unless something else is chosen
    "recommended": Section(
        several=True, own={"max_epochs": Hint("int"), "monitor": Hint("str"), "module": Hint("str")}
    ),
    "trainer": Section(supplied=("callbacks", "logger", "default_root_dir")),
    "callbacks": Section(several=True),
    "logger": Section(
        several=True, offered=("save_dir",), own={"tensorboard": Hint("bool"), "card": Hint("bool")}
    ),
    "sweep": Section(optional=True, supplied=("plan",)),
    "claim": Section(optional=True),
}
