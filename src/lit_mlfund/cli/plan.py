"""Implements `mlfund plan`, which tells what a configuration would take on any number of devices."""

from __future__ import annotations

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.first_look import first_look
from lit_mlfund.cli.train import parse
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say_json, say_result

_CHOSEN = "plan=default"


def run(arguments: list[str]) -> int:
    """Compose and check as `train` does, trace a step, print table and JSON, and return the exit code."""
    from lit_mlfund.config.compose import Composer

    parsed = parse(arguments)
    if parsed.multirun or parsed.show:
        raise ConfigError("plan looks at one configuration, without -m or --cfg")
    chosen = any(line.lstrip("+").startswith("plan=") for line in parsed.overrides)
    overrides = parsed.overrides if chosen else [_CHOSEN, *parsed.overrides]
    config = Composer(parsed.config_dir, overrides).checked(overrides).config
    if config["plan"].get("vocabulary") is None:
        first_look(config["data"])
    with importing():
        from lit_mlfund.reports.plan_table import plan_text
        from lit_mlfund.runs.planning.planner import plan_run

    result = plan_run(config)
    told = say_result(plan_text(result))
    return 0 if say_json(to_json(result)) and told else 2
