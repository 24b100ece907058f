"""Implements `mlfund doctor`, which says what is wrong with a finished run, or with data before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.first_look import first_look
from lit_mlfund.cli.keys import given_run, read_keys, take_trust
from lit_mlfund.cli.train import parse
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say, say_json, say_result


def run(arguments: list[str]) -> int:
    """Check the arguments, derive the findings, print them, and return the exit code."""
    if any(word.startswith(("task=", "data=", "data.")) for word in arguments):
        told, shown = _of_data(arguments)
    else:
        told, shown = _of_run(arguments)
    return 0 if say_json(to_json(told)) and shown else 2


def _of_run(arguments: list[str]) -> tuple[dict[str, Any], bool]:
    """Derive the findings of a run anew from its evidence, and try the first fix where that was asked for."""
    arguments, trust = take_trust(arguments)
    values = read_keys(arguments, ("run", "verify"))
    if "run" not in values:
        raise ConfigError(
            "run is required: pass run=<folder of a finished run> or a name such as latest, or task=… data=… to "
            "look at data before training"
        )
    run_dir = given_run(values)
    if values.get("verify", "false") not in ("true", "false"):
        raise ConfigError(f"verify: expected true or false, got {values['verify']}")
    with importing():
        from lit_mlfund.runs.doctor.doctor import findings_again

    found = findings_again(run_dir)
    result: dict[str, Any] = {"run": run_dir}
    result["findings"], shown = _show(found)
    if values.get("verify") == "true":
        with importing():
            from lit_mlfund.runs.verification import verified

        result["verified"] = verified(run_dir, found, trust)
        shown = say_result(_verdict_text(result["verified"])) and shown
    return result, shown


def _of_data(arguments: list[str]) -> tuple[dict[str, Any], bool]:
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
    findings, shown = _show(found)
    rows = data.summary.get("rows", {})
    return {"task": data.spec.task, "rows": rows, "missing": missing, "findings": findings}, shown


def _show(found: Sequence[Any]) -> tuple[list[dict[str, Any]], bool]:
    """Print findings; return them as plain values, and whether they could be printed."""
    from lit_mlfund.reports.terminal import findings_text

    findings = [finding.to_dict() for finding in found]
    return findings, say_result(findings_text(findings))


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
