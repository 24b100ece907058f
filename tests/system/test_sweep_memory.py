"""A sweep keeps nothing of a job that has ended."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from lit_mlfund.sweeps.job import Job
from tests.system.conftest import Command

SMALL = ("task=binary", "data=breast_cancer", "model=linear", "references=false", "trainer.max_epochs=1")
Watch = Callable[[Callable[[], Any]], list[Any]]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Takes a look before each job; the list of what was seen."""

    def start(look: Callable[[], Any]) -> list[Any]:
        seen: list[Any] = []
        run = Job.run

        def watched(job: Job, *arguments: Any) -> dict[str, Any]:
            seen.append(look())
            return run(job, *arguments)

        monkeypatch.setattr(Job, "run", watched)
        return seen

    return start


def living() -> dict[str, int]:
    """What a job makes that could outlive it."""
    gc.collect()
    found = gc.get_objects()
    return {
        "tensors": sum(issubclass(type(one), torch.Tensor) for one in found),
        "modules": sum(issubclass(type(one), LightningModule) for one in found),
        "trainers": sum(issubclass(type(one), Trainer) for one in found),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
    }


def test_nothing_outlives_its_job(mlfund: Command, watch: Watch) -> None:
    seen = watch(living)
    told = mlfund("train", "-m", *SMALL, "seed=range(0,5)")
    assert told.code == 0, told.err
    assert seen[-1] == seen[2]  # behind the first jobs, which fill caches
    assert seen[-1]["trainers"] <= 1


@pytest.mark.slow
def test_memory_is_flat(mlfund: Command, watch: Watch) -> None:
    seen = watch(lambda: int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    told = mlfund("train", "-m", *SMALL, "test=false", "seed=range(0,90)")
    assert told.code == 0, told.err
    assert max(seen[60:]) - max(seen[10:30]) < 16 * 2**20  # a frame or figure kept of each would be more
