"""Checks that every target of a configuration is of the kind that its group builds, and nothing that runs otherwise.

Ours are known by the module that defines them, those of other packages by their bases. A library that reads files can
give classes of the right kind only: `torch.load` or `pandas.read_pickle` would run what is in a file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lit_mlfund.config.options import nodes
from lit_mlfund.config.signatures import describe
from lit_mlfund.config.source_signatures import PACKAGE, Target, TargetError


@dataclass(frozen=True)
class Kind:
    """Describes what a group builds.

    name   of its class, in messages
    base   the class that classes of other packages derive from; None where any will do
    homes  modules of ours that define its targets, or packages of them
    takes  arguments that a function has to name to be one of its targets; None where ours are classes
    """

    name: str
    base: str | None
    homes: tuple[str, ...]
    takes: frozenset[str] | None = None


_CALLBACK = Kind(
    "lightning.pytorch.Callback", "lightning.pytorch.callbacks.callback.Callback", ("callbacks",)
)
KINDS = {
    "loss": Kind("torch.nn.Module", "torch.nn.modules.module.Module", ("losses",)),
    "model": Kind("torch.nn.Module", "torch.nn.modules.module.Module", ("models",)),
    "data": Kind(
        "lit_mlfund.datamodules.DataModule", "lit_mlfund.datamodules.base.DataModule", ("datamodules",)
    ),
    "task": Kind("lit_mlfund.modules.TaskModule", "lit_mlfund.modules.base.TaskModule", ("modules",)),
    "optim": Kind(
        "torch.optim.Optimizer", "torch.optim.optimizer.Optimizer", ("optim",), frozenset({"params"})
    ),
    "schedule": Kind(
        "torch.optim.lr_scheduler.LRScheduler",
        "torch.optim.lr_scheduler.LRScheduler",
        ("optim",),
        frozenset({"optimizer"}),
    ),
    "embedding": Kind("class with prepare and optimizer", None, ("optim",)),
    "callbacks": _CALLBACK,
    "regularization": _CALLBACK,
    "logger": Kind(
        "lightning.pytorch.loggers.Logger", "lightning.pytorch.loggers.logger.Logger", ("callbacks",)
    ),
    "trainer": Kind(
        "lightning.pytorch.Trainer",
        "lightning.pytorch.trainer.trainer.Trainer",
        ("runs.assembly.trainer",),
        frozenset({"callbacks", "logger", "default_root_dir"}),
    ),
    "sweep": Kind("class that runs a plan", None, ("sweeps",), frozenset({"plan"})),
    "decompose": Kind("class that decomposes a plan", None, ("sweeps.decompose",), frozenset({"plan"})),
    "doctor": Kind("lit_mlfund.runs.doctor.Doctor", None, ("runs.doctor",)),
    "claim": Kind("lit_mlfund.sweeps.claims.claim.Claim", None, ("sweeps.claims",)),
}
SEVERAL = ("callbacks", "regularization", "logger")  # groups whose nodes lie one level below
# What else a node inside another one may build.
_PARTS = {"lightning.pytorch.strategies.strategy.Strategy", "lightning.pytorch.profilers.profiler.Profiler"}
_BASES = _PARTS | {kind.base for kind in KINDS.values() if kind.base is not None}
# Libraries that read and write files or start programs; they give classes of a kind, and no functions.
LIBRARIES = sys.stdlib_module_names | frozenset(
    [
        "torch",
        "lightning",
        "lightning_fabric",
        "pytorch_lightning",
        "torchmetrics",
        "numpy",
        "pandas",
        "polars",
        "scipy",
        "sklearn",
        "joblib",
        "PIL",
        "pyarrow",
        "h5py",
        "fsspec",
        "matplotlib",
        "tensorboard",
        "onnx",
        "onnxruntime",
        "hydra",
        "omegaconf",
        "yaml",
        "dill",
        "cloudpickle",
        "pkg_resources",
        "setuptools",
        "pip",
        "optuna",
        "submitit",
    ]
)


def wrong_kinds(config: dict[str, Any], strict: bool = False) -> Iterator[str]:
    """Yield one line for each node whose target is not of the kind that its group builds.

    Args:
        config: a configuration; of other groups than those of `KINDS`, no target is known.
        strict: whether nodes inside others are held against the kinds, too, where a library gives them, and targets
            that lead nowhere are reported.
    """
    for group in config:
        for path, node in nodes(config[group], str(group)):
            try:
                target = describe(node["_target_"]) if isinstance(node["_target_"], str) else None
            except TargetError as error:
                if strict:  # else the check of its node reports it
                    yield f"{path}._target_: {error}"
                continue
            if target is None:
                continue
            depth = path.count(".") + path.count("[")
            kind = KINDS.get(group) if depth == (1 if group in SEVERAL else 0) else None
            if kind is not None and not _is_of(target, kind):
                yield f"{path}._target_: {target.path} is not a {kind.name}, which {group} requires"
            elif kind is None and (group in KINDS or strict) and not _may_be_inside(target, strict):
                yield (
                    f"{path}._target_: {target.path} is not built inside a node: it is no module, optimizer, "
                    "schedule, callback, logger or data module"
                )


def _is_of(target: Target, kind: Kind) -> bool:
    takes = kind.takes is not None and kind.takes <= target.parameters.keys()
    if _top(target) == PACKAGE:
        return is_at_home(target, kind.homes) and (target.is_class or takes)
    if takes:
        return True
    if target.is_class and kind.base is not None and target.bases:
        return kind.base in target.bases
    return _top(target) not in LIBRARIES  # a function or class of the user's: what it returns is checked


def _may_be_inside(target: Target, strict: bool) -> bool:
    if _top(target) == PACKAGE:
        return any(is_at_home(target, kind.homes) for kind in KINDS.values())
    if _top(target) not in LIBRARIES or not _BASES.isdisjoint(target.bases):
        return True
    return not strict and target.is_class and _top(target) in ("torch", "lightning")


def is_at_home(target: Target, homes: Sequence[str]) -> bool:
    """Return whether one of our modules, or of the modules below one, defines a target."""
    return any(f"{target.home}.".startswith(f"{PACKAGE}.{home}.") for home in homes)


def _top(target: Target) -> str:
    return target.home.partition(".")[0]
