"""torch.compile on a CPU without a C++ compiler is refused before anything is built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lit_mlfund.config.compose import Composer


@pytest.mark.parametrize("there", [True, False])
def test_a_missing_compiler_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool) -> None:
    monkeypatch.setenv("CXX", sys.executable if there else str(tmp_path / "g++"))
    problems = Composer().compose(["trainer.compile=true"]).problems
    assert bool(problems) is not there
    if not there:
        assert problems[0].startswith(
            "trainer.compile: on a CPU torch.compile needs a C++ compiler, and there is no"
        )
    assert Composer().compose(["trainer.compile=true", "trainer.accelerator=gpu"]).problems == []
