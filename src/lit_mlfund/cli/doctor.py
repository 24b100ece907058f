"""Implements `mlfund doctor`, which says again what is wrong with a finished run."""

from __future__ import annotations

from pathlib import Path

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.keys import read_keys
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say_json, say_result


def run(arguments: list[str]) -> int:
    """Check the arguments, derive the findings, print them, and return the exit code."""
    values = read_keys(arguments, ("run",))
    if "run" not in values:
        raise ConfigError("run is required: pass run=<folder of a finished run>")
    run_dir = Path(values["run"]).expanduser().absolute()
    if not run_dir.is_dir():
        raise ConfigError(f"run: there is no folder {run_dir}")
    with importing():
        from lit_mlfund.reports.terminal import findings_text
        from lit_mlfund.runs.doctor.doctor import findings_again

    findings = [finding.to_dict() for finding in findings_again(run_dir)]
    told = say_result(findings_text(findings))
    return 0 if say_json(to_json({"run": run_dir, "findings": findings})) and told else 2
