"""Implements `mlfund doctor`, which says again what is wrong with a finished run."""

from __future__ import annotations

from typing import Any

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.keys import given_run, read_keys, take_trust
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say_json, say_result


def run(arguments: list[str]) -> int:
    """Check the arguments, derive the findings, print them, and return the exit code."""
    arguments, trust = take_trust(arguments)
    values = read_keys(arguments, ("run", "verify"))
    run_dir = given_run(values)
    if values.get("verify", "false") not in ("true", "false"):
        raise ConfigError(f"verify: expected true or false, got {values['verify']}")
    with importing():
        from lit_mlfund.reports.terminal import findings_text
        from lit_mlfund.runs.doctor.doctor import findings_again

    found = findings_again(run_dir)
    findings = [finding.to_dict() for finding in found]
    told = say_result(findings_text(findings))
    result: dict[str, Any] = {"run": run_dir, "findings": findings}
    if values.get("verify") == "true":
        with importing():
            from lit_mlfund.runs.verification import verified

        result["verified"] = verified(run_dir, found, trust)
        told = say_result(_verdict_text(result["verified"])) and told
    return 0 if say_json(to_json(result)) and told else 2


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
