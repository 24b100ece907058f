"""Implements `mlfund lr-find`, which finds the learning rate of a configuration."""

from __future__ import annotations

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.first_look import first_look
from lit_mlfund.cli.train import parse
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say, warn


def run(arguments: list[str]) -> int:
    """Compose and check as `train` does, run the range test, print it as JSON, and return the exit code."""
    from lit_mlfund.config.compose import Composer

    parsed = parse(arguments)
    if parsed.multirun or parsed.show:
        raise ConfigError("lr-find looks at one configuration, without -m or --cfg")
    config = Composer(parsed.config_dir, parsed.overrides).checked(parsed.overrides).config
    if config.get("run"):
        raise ConfigError("run: is for train; lr-find takes the options of the run instead")
    first_look(config["data"])
    with importing():
        from lit_mlfund.runs.execution.lr_range_test import run_lr_find

    result = run_lr_find(config)
    warn(f"{result['override']}  ({result['reason']})\n{result['picture']}")
    return 0 if say(to_json(result), result=True) else 2
