"""`mlfund lr-find`: which learning rate for this configuration?"""

from __future__ import annotations

import sys

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.train import parse
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing


def run(arguments: list[str]) -> int:
    """Compose and check as `train` does, run the range test, print what it says as JSON; the exit code."""
    from lit_mlfund.config.compose import Composer

    given = parse(arguments)
    if given.multirun or given.show:
        raise ConfigError("lr-find looks at one configuration, without -m or --cfg")
    config = Composer(given.config_dir, given.overrides).checked(given.overrides).config
    with importing():
        from lit_mlfund.runs.execution.lr_range_test import run_lr_find

    found = run_lr_find(config)
    print(f"{found['override']}  ({found['reason']})\n{found['picture']}", file=sys.stderr)
    print(to_json(found), flush=True)
    return 0
