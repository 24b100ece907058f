"""Implements `mlfund train`: turns flags and overrides into a run, JSON and an exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.first_look import first_look, first_look_at_run
from lit_mlfund.cli.keys import TRUST, take_trust
from lit_mlfund.config.errors import ConfigError, suggestion
from lit_mlfund.startup.signals import STOPPED
from lit_mlfund.startup.streams import say_json, warn

_FLAGS = (
    "-m",
    "--multirun",
    "--config-dir",
    "-cd",
    "--cfg",
    "-c",
    "--trust",
    "--json",
    "-q",
    "--quiet",
    "-v",
    "--verbose",
    "--help",
)


@dataclass
class Arguments:
    """Holds the parsed arguments of `mlfund train`."""

    overrides: list[str] = field(default_factory=list)
    config_dir: str | None = None
    multirun: bool = False
    show: bool = False


def parse(arguments: list[str]) -> Arguments:
    """Separate flags from overrides; raises ConfigError for a flag that does not exist."""
    parsed, rest = Arguments(), list(arguments)
    while rest:
        word = rest.pop(0)
        flag, has_value, value = word.partition("=")
        if not word.startswith("-"):
            parsed.overrides.append(word)
        elif flag in ("-m", "--multirun") and not has_value:
            parsed.multirun = True
        elif flag in ("--cfg", "-c") and not has_value:
            parsed.show = True
            if rest[:1] == ["job"]:  # as in Hydra's `--cfg job`
                rest.pop(0)
        elif flag in ("--config-dir", "-cd"):
            if not has_value and (not rest or rest[0].startswith("-")):
                raise ConfigError("--config-dir needs a folder")
            parsed.config_dir = value if has_value else rest.pop(0)
        else:
            raise ConfigError(f"{word}: no such flag; {suggestion(flag, _FLAGS)}")
    return parsed


def run(arguments: list[str]) -> int:
    """Train once, train a sweep, or print a configuration; return the exit code."""
    from lit_mlfund.config.compose import Composer
    from lit_mlfund.config.overrides import plain_values
    from lit_mlfund.runs.execution.lifecycle import run_again, run_config

    options, trust = take_trust(arguments)
    parsed = parse(options)
    command = ["mlfund", "train", *arguments]
    values = plain_values(parsed.overrides, "run")
    if values is not None:
        run_dir = str(values.pop("run"))
        if parsed.multirun or parsed.show:
            raise ConfigError("run=: a frozen run is executed as it is, without -m or --cfg")
        first_look_at_run(Path(run_dir).expanduser(), trust=trust)
        return report(run_again(run_dir, values, command, trust))
    if trust:
        raise ConfigError(f"{TRUST}: is for run=FOLDER; what you name on the command line is yours")
    if parsed.multirun and parsed.show:
        raise ConfigError("--cfg: shows one configuration, not those of a sweep; leave out -m or --cfg")
    if not parsed.multirun:
        composed = Composer(parsed.config_dir, parsed.overrides).checked(parsed.overrides)
        if parsed.show:
            from omegaconf import OmegaConf

            print(OmegaConf.to_yaml(OmegaConf.create(composed.config)), end="")
            return 0
        if str(composed.hydra.mode) != "RunMode.MULTIRUN" and not composed.config.get("sweep"):
            first_look(composed.config["data"])
            return report(run_config(composed.config, command))
    from lit_mlfund.sweeps.sweep import sweep

    results = sweep(parsed.overrides, parsed.config_dir, command)
    failed = sum(result["status"] != "done" for result in results)
    if failed:
        warn(f"mlfund: {failed} of {len(results)} jobs failed")
    return 3 if failed else 0


def report(result: dict[str, Any]) -> int:
    """Print a result as JSON, where a program reads it, in the first process only, and return its exit code.

    An output that cannot be written does not change the code: the same is in the folder's `result.json`.
    """
    from lit_mlfund.startup.environment import is_first_process

    if is_first_process():
        say_json(to_json(result))
        if result["status"] != "done":
            warn(f"mlfund: {result['status']}: {result.get('reason', '')}")
    return {"done": 0, "crashed": 1, **STOPPED}.get(result["status"], 3)
