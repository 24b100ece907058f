"""Marks a run whose result is written and whose report is not, so that a kill in between costs no training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import remove_unfinished
from lit_mlfund.runs.execution.lock import run_lock
from lit_mlfund.runs.execution.run_folder import load_frozen
from lit_mlfund.runs.execution.strangers import strange_packages
from lit_mlfund.startup.environment import is_first_process
from lit_mlfund.startup.fast_imports import importing

MARKER = ".unreported"


@contextmanager
def marked(run_dir: Path) -> Iterator[None]:
    """Mark a run folder while a block writes the result and reports it."""
    (run_dir / MARKER).touch()
    yield
    (run_dir / MARKER).unlink(missing_ok=True)


def is_marked(run_dir: Path) -> bool:
    """Return whether a kill has left a run with a result without all of its report."""
    return (run_dir / MARKER).exists()


def finish_report(run_dir: Path) -> dict[str, Any]:
    """Report a run again from its files, and return the contents of `result.json`.

    Raises:
        ConfigError: another process is at work in the folder.
    """
    with importing():
        from omegaconf import OmegaConf

        from lit_mlfund.runs.evaluation.publish import report

    result: dict[str, Any] = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    if is_first_process():
        with run_lock(run_dir), marked(run_dir):
            remove_unfinished(run_dir)
            config = load_frozen(run_dir)
            report(run_dir, OmegaConf.create(config), result, strange_packages(config))
    return result
