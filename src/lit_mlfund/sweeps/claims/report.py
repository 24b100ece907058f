"""Reads the claim of a sweep before it starts, and tests it on the runs when they have ended."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.instantiate import instantiate
from lit_mlfund.runs.execution.run_folder import RUN_FILE, load_frozen
from lit_mlfund.runs.execution.strangers import check_strange
from lit_mlfund.sweeps.claims.claim import Claim, write_claim


def claim_of(config: Mapping[str, Any]) -> Claim:
    """Instantiate the claim of a configuration; ConfigError where one of its lines cannot be parsed."""
    try:
        claim: Claim = instantiate(config["claim"])
    except Exception as error:
        raise ConfigError(f"claim: {error.__cause__ or error}") from error
    return claim


def report_claim(
    sweep_dir: Path, command: Sequence[str] = (), page: Path | None = None, claim: Claim | None = None
) -> Path | None:
    """Write the page and the picture of a sweep's claim from the files of its runs; None if no run left any.

    Args:
        sweep_dir: the folder of a finished sweep.
        command: the command line as typed.
        page: where to write the page, instead of `<sweep>/claim.md`.
        claim: replaces the claim that the runs have; its wording and panels may differ, not what it expects.
    """
    jobs = [json.loads(file.read_text()) for file in sorted((sweep_dir / "jobs").glob("[0-9]*.json"))]
    runs = [Path(job["run"]) for job in jobs if job["run"]]
    run = next((run for run in runs if (run / "provenance.json").exists()), None)
    if run is None:
        return None
    provenance = json.loads((run / "provenance.json").read_text())
    frozen = claim_of(check_strange({"claim": load_frozen(run).get("claim")}, run / RUN_FILE))
    if claim is not None and (claim.expect, claim.compare) != (frozen.expect, frozen.compare):
        raise ConfigError(f"{sweep_dir} was run for a claim with other expectations; run the sweep again")
    return write_claim(claim or frozen, sweep_dir, provenance, shlex.join(command), page)
