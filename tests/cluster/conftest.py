"""One Slurm for all tests that need it; without it they are skipped, and say what is missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.slurm import Slurm, missing, running


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """Run a Slurm of two nodes."""
    if lacking := missing():
        pytest.skip(f"no Slurm: {', '.join(lacking)} missing; `make test-cluster` installs it, as root")
    with running() as slurm:
        yield slurm
