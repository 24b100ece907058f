"""Remembers which run folder a job of a scheduler trained in, so that the job finds it when it is started again."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lit_mlfund.atomic import write_text
from lit_mlfund.cluster import slurm

_FOLDER = ".jobs"  # in the folder of all runs


def job_name() -> str | None:
    """Return the name of the job that this process belongs to, which it keeps when it is started again, or None.

    Jobs are those of Slurm, and those of torchrun, which are named by `--rdzv-id`, or else by their agent.
    """
    if (job := slurm.job_id()) is not None:
        return f"slurm-{os.environ.get('SLURM_CLUSTER_NAME', '')}-{job}"
    if (run := os.environ.get("TORCHELASTIC_RUN_ID")) is None:
        return None
    return f"torchrun-{run}" if run != "none" else f"torchrun-{socket.gethostname()}-{os.getppid()}"


def is_restarted() -> bool:
    """Return whether the job may have run before; a job of torchrun may at any time, as an agent may be replaced."""
    return slurm.num_restarts() > 0 or "TORCHELASTIC_RUN_ID" in os.environ


class JobRecord:
    """Holds the folder of a job's run of one configuration, in a file below the folder of all runs.

    Args:
        runs_dir: the folder of all runs.
        job: its name.
        config: the configuration; a job may train several, one after the other.
    """

    def __init__(self, runs_dir: Path, job: str, config: dict[str, Any]):
        text = json.dumps(config, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._file = runs_dir / _FOLDER / quote(job, safe="") / digest

    def folder(self) -> Path | None:
        """Return the folder, if there is one."""
        try:
            folder = Path(self._file.read_text(encoding="utf-8").strip())
        except OSError:
            return None
        return folder if folder.is_dir() else None

    def remember(self, folder: Path) -> None:
        """Write the folder down."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._file, str(folder))
