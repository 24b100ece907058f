"""Imports Lightning without what it imports and a run does not use: torch's compiler, and most of torchmetrics.

Lightning imports both for the names of a few classes. Of `OptimizedModule` and `MetricCollection` it only asks whether
an object is an instance, and there is none while nothing has imported their modules. From `torchmetrics.Metric` it
derives a class; that module is small, while the package around it imports scipy.signal and pyplot. What is left out is
half of the CPU time of `import lightning.pytorch`.

All of this depends on how the installed releases import each other. Where a release does it otherwise, and the import
fails for any reason, Lightning is imported plainly: slower, with the same result.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType
from typing import Any

LIGHTNING = "lightning.pytorch"
COMPILER, METRICS, PLOT = "torch._dynamo", "torchmetrics", "torchmetrics.utilities.plot"


def import_lightning() -> None:
    """Import `lightning.pytorch` after torch, deferring what a run does not use; plainly where that fails.

    Afterwards `torch._dynamo` is imported by its first user, as ever; torchmetrics is in `sys.modules` without having
    been executed, which its first user triggers. Without effect where Lightning has been imported already.
    """
    if LIGHTNING in sys.modules:
        return
    present = set(sys.modules)
    try:
        with _deferred():
            importlib.import_module(LIGHTNING)
    except Exception as error:
        logging.getLogger(__name__).debug("imports of Lightning are not deferred: %r", error)
        _unload(sys.modules.keys() - present)
    importlib.import_module(LIGHTNING)


def _unload(names: Iterable[str]) -> None:
    """Remove modules of Lightning and torchmetrics, and their log handlers, which a second import would double."""
    packages = (LIGHTNING.partition(".")[0], METRICS)
    for name in names:
        if name.partition(".")[0] in packages:
            del sys.modules[name]
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] in packages and isinstance(logger, logging.Logger):
            logger.handlers.clear()


@contextmanager
def _deferred() -> Iterator[None]:
    """Put placeholders for torch's compiler and torchmetrics into `sys.modules` while Lightning is imported."""
    try:
        _defer(
            COMPILER,
            OptimizedModule=_stand_in("torch._dynamo.eval_frame", "OptimizedModule"),
            disable=_disable,
        )
        metrics = _defer(
            METRICS,
            MetricCollection=_stand_in("torchmetrics.collections", "MetricCollection"),
            _logger=logging.getLogger(METRICS),
            __version__=version(METRICS),
        )
        if metrics is not None:
            _import_metric(metrics)
        yield
    finally:
        # a module inside it would otherwise be imported twice: by itself, and when this one is executed
        if isinstance(sys.modules.get(COMPILER), DeferredModule):
            del sys.modules[COMPILER]


class DeferredModule(ModuleType):
    """Holds some names of a module that was located; executes it in place when another name is wanted."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ is not None and self.__spec__.loader is not None
        try:
            self.__spec__.loader.exec_module(self)
        except BaseException:
            sys.modules.pop(self.__name__, None)  # as `import` does
            raise
        return getattr(self, name)


class _StandIn(type):
    """Creates classes in place of those whose module is not imported; instances of the real class are theirs."""

    def __instancecheck__(cls, instance: object) -> bool:
        package = cls.__module__.rpartition(".")[0]
        for module in (cls.__module__, package):  # a release that moves the class still has it in the package
            real = getattr(sys.modules.get(module), cls.__name__, cls)
            if real is not cls:
                return isinstance(instance, real)
        return False


def _stand_in(module: str, name: str) -> _StandIn:
    return _StandIn(name, (), {"__module__": module})


def _defer(name: str, **names: Any) -> DeferredModule | None:
    """Put module `name` into `sys.modules` without executing it, with some `names`; None where it is imported."""
    if name in sys.modules:
        return None
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = DeferredModule(name)
    module.__dict__.update(vars(importlib.util.module_from_spec(spec)) | names)
    sys.modules[name] = module
    return module


def _disable(function: Callable[..., Any], *options: Any, **keywords: Any) -> Callable[..., Any]:
    """Apply `torch._dynamo.disable` to `function` as soon as there is a compiler to keep away from it."""
    disabled: Callable[..., Any] | None = None

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal disabled
        if COMPILER not in sys.modules:
            return function(*arguments, **named)
        if disabled is None:
            disabled = sys.modules[COMPILER].disable(function, *options, **keywords)
        return disabled(*arguments, **named)

    return call


def _import_metric(metrics: DeferredModule) -> None:
    """Import `torchmetrics.Metric`, and let it import how to plot when it plots."""

    def plot_single_or_multi_val(*arguments: Any, **keywords: Any) -> Any:
        return importlib.import_module(PLOT).plot_single_or_multi_val(*arguments, **keywords)

    plot: Any = ModuleType(PLOT)
    plot._AX_TYPE = plot._PLOT_OUT_TYPE = object  # only named in annotations
    plot.plot_single_or_multi_val = plot_single_or_multi_val
    sys.modules[PLOT] = plot
    try:
        # first, since it imports `metric` half-way through, and cannot be imported by it
        importlib.import_module("torchmetrics.utilities")
        metrics.Metric = importlib.import_module("torchmetrics.metric").Metric  # type: ignore[attr-defined]
    finally:
        sys.modules.pop(PLOT, None)
