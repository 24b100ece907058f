"""Reads the files of a run folder for its reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, or an empty dictionary where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def typed_command(run_dir: Path) -> str:
    """Return the command that the run was started with, or an empty text where `run.yaml` does not have it."""
    first = (run_dir / "run.yaml").read_text(encoding="utf-8").partition("\n")[0]
    return first[1:].strip() if first.startswith("#") else ""


def shown_paths(provenance: dict[str, Any]) -> list[str]:
    """Return the paths of the user's files that a run has read."""
    return list(dict.fromkeys(source["path"] for source in provenance.get("sources", [])))
