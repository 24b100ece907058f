"""Imports without a search for garbage among what they make, which takes a fifth of a start."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """For a block that imports torch and what is built on it.

    Their million objects stay as long as the process. Python's collector would go through them a dozen times while
    they appear. Where torch was not there before, they are also left out of all later searches (`gc.freeze`).
    """
    enabled, first = gc.isenabled(), "torch" not in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
        if enabled:
            gc.enable()
