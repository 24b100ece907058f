"""Libraries that only some optimizers need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class MissingExtraError(ImportError, ValueError):
    """A configuration asks for something whose library is not installed; the message names the extra."""


def load(module: str, extra: str, wanted_by: str) -> ModuleType:
    """Import `module`; `MissingExtraError` naming `extra` if it is not there."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{wanted_by} needs {module} ({error}); install it with: pip install 'lit_mlfund[{extra}]'"
        ) from error
