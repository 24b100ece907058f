"""The claim that a sweep is to prove: read before it starts, held against its runs when it has ended."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.instantiate import instantiate
from lit_mlfund.runs.execution.run_folder import load_frozen
from lit_mlfund.sweeps.claims.claim import Claim, write_claim


def claim_of(config: Mapping[str, Any]) -> Claim:
    """The claim of a configuration; ConfigError where one of its lines cannot be read."""
    try:
        claim: Claim = instantiate(config["claim"])
    except Exception as error:
        raise ConfigError(f"claim: {error.__cause__ or error}") from error
    return claim


def report_claim(
    sweep_dir: Path, command: Sequence[str] = (), page: Path | None = None, claim: Claim | None = None
) -> Path | None:
    """Write the page and the picture of a sweep's claim, from the files of its runs; None if no run left any.

    Args:
        sweep_dir: the folder of an ended sweep.
        command: what was typed.
        page: where to write the page, instead of `<sweep>/claim.md`.
        claim: in other words or with other pictures than the runs have it; what is expected has to be the same.
    """
    jobs = [json.loads(file.read_text()) for file in sorted((sweep_dir / "jobs").glob("*.json"))]
    runs = [Path(job["run"]) for job in jobs if job["run"]]
    run = next((run for run in runs if (run / "provenance.json").exists()), None)
    if run is None:
        return None
    made_on = json.loads((run / "provenance.json").read_text())
    frozen = claim_of(load_frozen(run))
    if claim is not None and (claim.expect, claim.compare) != (frozen.expect, frozen.compare):
        raise ConfigError(f"{sweep_dir} was made to show something else; run it again")
    return write_claim(claim or frozen, sweep_dir, made_on, shlex.join(command), page)
