"""Implements `mlfund doctor`, which says again what is wrong with a finished run."""

from __future__ import annotations

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.keys import given_run, read_keys
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say_json, say_result


def run(arguments: list[str]) -> int:
    """Check the arguments, derive the findings, print them, and return the exit code."""
    run_dir = given_run(read_keys(arguments, ("run",)))
    with importing():
        from lit_mlfund.reports.terminal import findings_text
        from lit_mlfund.runs.doctor.doctor import findings_again

    findings = [finding.to_dict() for finding in findings_again(run_dir)]
    told = say_result(findings_text(findings))
    return 0 if say_json(to_json({"run": run_dir, "findings": findings})) and told else 2
