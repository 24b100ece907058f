"""Fits references one by one, each within a limit of time, and records those that did not make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from lit_mlfund.startup.left_threads import call_within

Result = TypeVar("Result")


class LeftOut(Exception):
    """Says why a reference cannot be fitted on these data."""


@dataclass
class Fitting:
    """Limits the references that are fitted while it is active, and tries each of them once.

    seconds   for each of them, predictions included; None for any time
    show      called several times a second with the name of the reference and the seconds so far
    left_out  the references that took longer or cannot be fitted, with the reason
    """

    seconds: float | None = None
    show: Callable[[str, float], None] = lambda name, elapsed: None
    left_out: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def active(self) -> Iterator[Fitting]:
        """Apply to all calls of `fitted` in the block."""
        token = _active.set(self)
        try:
            yield self
        finally:
            _active.reset(token)


_active: ContextVar[Fitting | None] = ContextVar("fitting", default=None)


def fitted(name: str, fit: Callable[[], Result]) -> Result | None:
    """Return what `fit` returns, or None where it is left out: with a reason in the active `Fitting`."""
    fitting = _active.get()
    if fitting is None:
        with suppress(LeftOut):
            return fit()
        return None
    if name in fitting.left_out:  # for another split, or as a part of a blend
        return None
    try:
        return call_within(fitting.seconds, fit, lambda elapsed: fitting.show(name, elapsed))
    except TimeoutError:
        fitting.left_out[name] = f"not fitted within {fitting.seconds:g} s"
    except LeftOut as reason:
        fitting.left_out[name] = str(reason)
    return None
