"""Implements `mlfund doctor`, which says what is wrong with a finished run, or with data before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.first_look import first_look
from lit_mlfund.cli.keys import read_keys
from lit_mlfund.cli.train import parse
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say


def run(arguments: list[str]) -> int:
    """Check the arguments, derive the findings, print them, and return the exit code."""
    of_data = any(word.startswith(("task=", "data=", "data.")) for word in arguments)
    told, found = _of_data(arguments) if of_data else _of_run(arguments)
    with importing():
        from lit_mlfund.reports.terminal import findings_text

    findings = [finding.to_dict() for finding in found]
    shown = say(findings_text(findings))
    return 0 if say(to_json({**told, "findings": findings}), result=True) and shown else 2


def _of_run(arguments: list[str]) -> tuple[dict[str, Any], list[Any]]:
    """Derive the findings of a run anew from its evidence."""
    values = read_keys(arguments, ("run",))
    if "run" not in values:
        raise ConfigError(
            "run is required: pass run=<folder of a finished run>, or task=… data=… to look at data before training"
        )
    run_dir = Path(values["run"]).expanduser().absolute()
    if not run_dir.is_dir():
        raise ConfigError(f"run: there is no folder {run_dir}")
    with importing():
        from lit_mlfund.runs.doctor.doctor import findings_again

    return {"run": run_dir}, findings_again(run_dir)


def _of_data(arguments: list[str]) -> tuple[dict[str, Any], list[Any]]:
    """Compose and check as `train` does, read the data, and look at them; nothing is trained or written."""
    from lit_mlfund.config.compose import Composer

    parsed = parse(arguments)
    if parsed.multirun or parsed.show:
        raise ConfigError("doctor looks at one configuration, without -m or --cfg")
    if any(word.startswith("run=") for word in parsed.overrides):
        raise ConfigError("run=: a run has its own data; pass either run=FOLDER, or task=… data=…")
    config = Composer(parsed.config_dir, parsed.overrides).checked(parsed.overrides).config
    first_look(config["data"])
    with importing():
        from omegaconf import OmegaConf

        from lit_mlfund.reports.terminal import facts_text
        from lit_mlfund.runs.doctor.doctor import findings_on_data

    found, data, missing = findings_on_data(OmegaConf.create(config))
    say(facts_text(data.spec.task, data.summary))
    for name, reason in missing.items():
        say(f"  {name} not looked at: {reason}")
    told = {"task": data.spec.task, "rows": data.summary.get("rows", {}), "missing": missing}
    return told, found
