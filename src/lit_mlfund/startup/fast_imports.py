"""Imports torch and Lightning at about half of their cost."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import torch and Lightning, Lightning without what a run does not use, for a block that imports what uses them.

    Their million objects live as long as the process. Python's collector would traverse them a dozen times while they
    are created. Where torch was not imported before, they are also excluded from all later collections (`gc.freeze`).
    """
    enabled, first = gc.isenabled(), "torch" not in sys.modules
    gc.disable()
    try:
        import torch  # noqa: F401 - what is deferred needs it

        from lit_mlfund.startup.lazy_modules import import_lightning

        import_lightning()  # here rather than in the block, where a failure could not be retried
        yield
    finally:
        if first:
            gc.freeze()
        if enabled:
            gc.enable()
