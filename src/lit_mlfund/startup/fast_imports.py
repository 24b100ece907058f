"""Imports of torch and Lightning at about half of their price."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """For a block that imports torch and what is built on it, Lightning without what a run does not use (`deferred`).

    Their million objects stay as long as the process. Python's collector would go through them a dozen times while
    they appear. Where torch was not there before, they are also left out of all later searches (`gc.freeze`).
    """
    enabled, first = gc.isenabled(), "torch" not in sys.modules
    gc.disable()
    try:
        import torch  # noqa: F401 - what is deferred needs it

        from lit_mlfund.startup.lazy_modules import deferred

        with deferred():
            yield
    finally:
        if first:
            gc.freeze()
        if enabled:
            gc.enable()
