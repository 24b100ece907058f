"""Implements `mlfund decompose`, which splits the loss of a configuration into noise, bias and variance."""

from __future__ import annotations

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.first_look import first_look
from lit_mlfund.cli.train import parse
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.startup.fast_imports import importing
from lit_mlfund.startup.streams import say_json, warn

GROUP = "decompose"


def run(arguments: list[str]) -> int:
    """Compose and check as a sweep does, train the replicas, print the result as JSON, and return the exit code."""
    from lit_mlfund.sweeps.plan import plan_sweep

    parsed = parse(arguments)
    if parsed.multirun or parsed.show:
        raise ConfigError("decompose: several values are given with decompose.sweep=KEY, without -m or --cfg")
    lines = parsed.overrides
    if not any(line.partition("=")[0] == GROUP for line in lines):
        lines = [f"{GROUP}=default", *lines]
    plan = plan_sweep(lines, parsed.config_dir, ["mlfund", "decompose", *arguments])
    for combination in plan.combinations:
        if not combination.config.get(GROUP):
            raise ConfigError(f"{GROUP}: choose one of its options; {GROUP}=default is taken by itself")
        first_look(combination.config["data"])
    with importing():
        from lit_mlfund.config.instantiate import instantiate

    result = instantiate(plan.first.config[GROUP], plan=plan)()
    written = say_json(to_json(result))
    if result["status"] != "done":
        warn(f"mlfund: {result['status']}: {result['reason']}")
        return 3
    return 0 if written else 2
