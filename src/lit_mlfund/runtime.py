"""Forwards names such as `lit_mlfund.runtime.trainer`, which earlier versions wrote into configurations.

The folder has become `startup/`, `config/`, `runs/` and `sweeps/`; this module is removed in the release after 0.1.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    from lit_mlfund.config.moved import MODULES

    if (moved := MODULES.get(f"{__name__}.{name}")) is not None:
        return import_module(moved)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
