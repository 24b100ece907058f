"""Trains, measures and diagnoses models for every shape of prediction problem.

`train` and `load_run` are imported when they are first used: `import lit_mlfund` alone loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_mlfund.runs.python import Run, load_run, train

__version__ = "0.2.0"
__all__ = ["Run", "__version__", "load_run", "train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from lit_mlfund.runs import python

        return getattr(python, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
