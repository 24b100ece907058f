"""Runs sweeps in the process of the test, as the command line does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lit_mlfund.startup.streams import OUTPUT
from lit_mlfund.sweeps.plan import Plan


@pytest.fixture(autouse=True)
def results_for_programs() -> Iterator[None]:
    """Print as the command line does where standard output is no terminal."""
    with OUTPUT.set(json=True):
        yield


@pytest.fixture(params=["here", "hydra"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run one job after the other in this process, or through Hydra's launcher."""
    if request.param == "hydra":
        monkeypatch.setattr(Plan, "is_in_process", False)
    return str(request.param)
