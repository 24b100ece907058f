"""Records the provenance of a run: versions, machine, command, data."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

import lit_mlfund
from lit_mlfund.data.reading.file_watch import Signature
from lit_mlfund.datamodules import DataModule
from lit_mlfund.modules import TaskModule
from lit_mlfund.runs.assembly.budget import planned_steps

PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "numpy", "scikit-learn", "polars")


def provenance(config: DictConfig, data: DataModule, module: TaskModule) -> dict[str, Any]:
    """Return the contents of `provenance.json` in plain Python."""
    return {
        "lit_mlfund": lit_mlfund.__version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "git": _git_state(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "machine": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
        },
        "task": module.task,
        "figures": list(module.figures),
        "seed": config.seed,
        "data": data.summary,
        "sources": [signature.to_dict() for signature in data.watch.signatures.values()],
        "budget": planned_steps(config, data),
        "num_parameters": sum(parameter.numel() for parameter in module.parameters()),
    }


def recorded_sources(run_dir: Path) -> list[dict[str, Any]]:
    """Return the files that an interrupted run had read, from its `provenance.json`; empty if there is none."""
    try:
        sources = json.loads((run_dir / "provenance.json").read_text())["sources"]
        return [Signature(**source).to_dict() for source in sources]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Return the git commit of the current folder, and whether it has uncommitted changes; None without git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
        if commit.returncode:
            return None
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}
