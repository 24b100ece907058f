"""Implements `mlfund doctor`, which says again what is wrong with a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.keys import read_keys, take_trust
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say


def run(arguments: list[str]) -> int:
    """Check the arguments, derive the findings, print them, and return the exit code."""
    arguments, trust = take_trust(arguments)
    values = read_keys(arguments, ("run", "verify"))
    if "run" not in values:
        raise ConfigError("run is required: pass run=<folder of a finished run>")
    run_dir = Path(values["run"]).expanduser().absolute()
    if not run_dir.is_dir():
        raise ConfigError(f"run: there is no folder {run_dir}")
    if values.get("verify", "false") not in ("true", "false"):
        raise ConfigError(f"verify: expected true or false, got {values['verify']}")
    with importing():
        from lit_mlfund.reports.terminal import findings_text
        from lit_mlfund.runs.doctor.doctor import findings_again

    found = findings_again(run_dir)
    findings = [finding.to_dict() for finding in found]
    told = say(findings_text(findings))
    result: dict[str, Any] = {"run": run_dir, "findings": findings}
    if values.get("verify") == "true":
        with importing():
            from lit_mlfund.runs.verification import verified

        result["verified"] = verified(run_dir, found, trust)
        told = say(_verdict_text(result["verified"])) and told
    return 0 if say(to_json(result), result=True) and told else 2


def _verdict_text(verified: dict[str, Any] | None) -> str:
    """Say what the first fix gained."""
    if verified is None:
        return "no finding has a fix to verify"
    head = f"{verified['finding']}: {'closed' if verified['closed'] else 'not closed'} by {verified['fix']}"
    if verified["gain"] is None:
        return f"{head}: {verified['reason']}"
    gain = verified["gain"]
    interval = f"{gain['low']:.3g} … {gain['high']:.3g}, paired"
    return f"{head}: {verified['metric']} is better by {gain['value']:.3g} ({interval})"
