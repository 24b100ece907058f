"""Lightning without what it imports and a run does not use: torch's compiler, and all metrics that there are.

It imports both for the names of a few classes. Of `OptimizedModule` and `MetricCollection` it only asks whether an
object is one, and there is none while nothing has imported their modules. From `torchmetrics.Metric` it derives a
class; that module is small, while the package around it imports scipy.signal and pyplot. What is left out is half of
the CPU time of `import lightning.pytorch`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType
from typing import Any

COMPILER, METRICS, PLOT = "torch._dynamo", "torchmetrics", "torchmetrics.utilities.plot"


@contextmanager
def deferred() -> Iterator[None]:
    """For a block that imports Lightning, after torch; without effect where something has imported it already.

    Behind it, `torch._dynamo` is imported by the first that wants it, as ever; torchmetrics is there without being
    executed, which its first user does.
    """
    if "lightning.pytorch" in sys.modules:
        yield
        return
    compiler = _defer(
        COMPILER, OptimizedModule=_not_yet("torch._dynamo.eval_frame", "OptimizedModule"), disable=_disable
    )
    metrics = _defer(
        METRICS,
        MetricCollection=_not_yet("torchmetrics.collections", "MetricCollection"),
        _logger=logging.getLogger(METRICS),
        __version__=version(METRICS),
    )
    if metrics is not None:
        _give_metric(metrics)
    try:
        yield
    finally:
        # a module inside it would otherwise be imported twice: by itself, and when this one is executed
        if isinstance(compiler, DeferredModule):
            sys.modules.pop(COMPILER, None)


class DeferredModule(ModuleType):
    """A module that was found, with some of its names; executed in place when another name is wanted."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ is not None and self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


class _NotYet(type):
    """A class in the place of one whose module is not imported; its instances are those of the real one."""

    def __instancecheck__(cls, instance: object) -> bool:
        real = getattr(sys.modules.get(cls.__module__), cls.__name__, None)
        return real is not None and isinstance(instance, real)


def _not_yet(module: str, name: str) -> _NotYet:
    return _NotYet(name, (), {"__module__": module})


def _defer(name: str, **given: Any) -> DeferredModule | None:
    """Put module `name` into `sys.modules` as it was found, with the names `given`; None where it is imported."""
    if name in sys.modules:
        return None
    spec = importlib.util.find_spec(name)
    assert spec is not None  # Lightning cannot be imported without it
    module = DeferredModule(name)
    module.__dict__.update(vars(importlib.util.module_from_spec(spec)) | given)
    sys.modules[name] = module
    return module


def _disable(function: Callable[..., Any], *options: Any, **keywords: Any) -> Callable[..., Any]:
    """What `torch._dynamo.disable` makes of `function`, made when there is a compiler to keep away from it."""
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


def _give_metric(metrics: DeferredModule) -> None:
    """Import `torchmetrics.Metric`, and let it import how to plot when it plots."""

    def plot_single_or_multi_val(*arguments: Any, **keywords: Any) -> Any:
        return importlib.import_module(PLOT).plot_single_or_multi_val(*arguments, **keywords)

    plot: Any = ModuleType(PLOT)
    plot._AX_TYPE = plot._PLOT_OUT_TYPE = object  # what annotations name
    plot.plot_single_or_multi_val = plot_single_or_multi_val
    sys.modules[PLOT] = plot
    try:
        # first, since it imports `metric` half-way through, and cannot be imported by it
        importlib.import_module("torchmetrics.utilities")
        metrics.Metric = importlib.import_module("torchmetrics.metric").Metric  # type: ignore[attr-defined]
    finally:
        sys.modules.pop(PLOT, None)
