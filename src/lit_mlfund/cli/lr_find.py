"""Implements `mlfund lr-find`, which finds the learning rate of a configuration."""

from __future__ import annotations

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.first_look import first_look
from lit_mlfund.cli.train import parse
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say_json, say_result


def run(arguments: list[str]) -> int:
    """Compose and check as `train` does, run the range test, print it as JSON, and return the exit code."""
    from lit_mlfund.config.compose import Composer

    parsed = parse(arguments)
    if parsed.multirun or parsed.show:
        raise ConfigError("lr-find looks at one configuration, without -m or --cfg")
    config = Composer(parsed.config_dir, parsed.overrides).checked(parsed.overrides).config
    first_look(config["data"])
    with importing():
        from lit_mlfund.reports.terminal import lr_find_text
        from lit_mlfund.runs.execution.lr_range_test import run_lr_find

    result = run_lr_find(config)
    told = say_result(lr_find_text(result))
    return 0 if say_json(to_json(result)) and told else 2
