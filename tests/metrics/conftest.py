from __future__ import annotations

import warnings
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def ranx() -> ModuleType:
    """ranx in plain Python: compiling its metrics takes half a minute, and the lists here are short."""
    numba = pytest.importorskip("numba")
    numba.config.DISABLE_JIT = True  # read when ranx is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("ranx")
