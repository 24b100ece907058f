"""Implements `mlfund train`: turns flags and overrides into a run, JSON and an exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lit_mlfund.atomic import to_json
from lit_mlfund.cli.first_look import first_look, first_look_at_run
from lit_mlfund.cli.keys import TRUST, take_trust
from lit_mlfund.config.errors import ConfigError, suggestion
from lit_mlfund.run_folders.names import find_run
from lit_mlfund.startup.signals import PREEMPTED, Stopped
from lit_mlfund.startup.streams import say_json, warn

_FLAGS = (
    "-m",
    "--multirun",
    "--config-dir",
    "-cd",
    "--cfg",
    "-c",
    "--fresh",
    "--dry-run",
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
    fresh: bool = False
    dry_run: bool = False


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
        elif flag == "--fresh" and not has_value:
            parsed.fresh = True
        elif flag == "--dry-run" and not has_value:
            parsed.dry_run = True
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
    """Train once, train a sweep, or print a configuration; return the exit code.

    A job that is stopped between its runs, or before it has one, is requeued, too.
    """
    try:
        return _run(arguments)
    except Stopped as stopped:
        if stopped.code == PREEMPTED:
            from lit_mlfund.cluster.requeue import requeue

            requeue()
        raise


def _run(arguments: list[str]) -> int:
    from lit_mlfund.config.compose import Composer
    from lit_mlfund.config.overrides import plain_values
    from lit_mlfund.runs.execution.lifecycle import run_again, run_config
    from lit_mlfund.runs.execution.way_on import tell

    options, trust = take_trust(arguments)
    parsed = parse(options)
    if any(line.lstrip("+").partition("=")[0].partition(".")[0] == "decompose" for line in parsed.overrides):
        raise ConfigError("decompose: is what mlfund decompose does; leave it out")
    command = ["mlfund", "train", *arguments]
    values = plain_values(parsed.overrides, "run")
    if values is not None:
        word = _typed(parsed.overrides, "run", values.pop("run"))
        if parsed.multirun or parsed.show:
            raise ConfigError("run=: a frozen run is executed as it is, without -m or --cfg")
        if parsed.fresh or parsed.dry_run:
            raise ConfigError(
                "run=: a frozen run is executed as it is; --fresh and --dry-run are for a sweep"
            )
        run_dir = find_run(word)
        first_look_at_run(run_dir, trust=trust)
        return tell(run_again(str(run_dir), values, command, trust))
    if trust:
        raise ConfigError(f"{TRUST}: is for run=FOLDER; what you name on the command line is yours")
    if parsed.multirun and parsed.show:
        raise ConfigError("--cfg: shows one configuration, not those of a sweep; leave out -m or --cfg")
    if parsed.show and (parsed.fresh or parsed.dry_run):
        raise ConfigError("--cfg: shows one configuration; --fresh and --dry-run are for a sweep")
    if not parsed.multirun:
        composed = Composer(parsed.config_dir, parsed.overrides).checked(parsed.overrides)
        if parsed.show:
            from omegaconf import OmegaConf

            print(OmegaConf.to_yaml(OmegaConf.create(composed.config)), end="")
            return 0
        if str(composed.hydra.mode) != "RunMode.MULTIRUN" and not composed.config.get("sweep"):
            if parsed.fresh or parsed.dry_run:
                raise ConfigError(
                    f"{'--fresh' if parsed.fresh else '--dry-run'}: is for a sweep, with -m or sweep=…"
                )
            first_look(composed.config["data"])
            return tell(run_config(composed.config, command))
    if parsed.dry_run:
        from lit_mlfund.sweeps.dry_run import dry_run

        say_json(to_json(dry_run(parsed.overrides, parsed.config_dir, command, parsed.fresh)))
        return 0
    from lit_mlfund.sweeps.sweep import sweep

    results = sweep(parsed.overrides, parsed.config_dir, command, fresh=parsed.fresh)
    failed = sum(result["status"] not in ("done", "pruned") for result in results)
    if failed:
        warn(f"mlfund: {failed} of {len(results)} jobs failed")
    return 3 if failed else 0


def _typed(lines: list[str], key: str, value: Any) -> str:
    """Return a value as it was typed where Hydra read a number of it: `012345` and `1e2345` are pieces of names."""
    typed = [line.partition("=")[2] for line in lines if line.lstrip("+").startswith(f"{key}=")]
    return value if isinstance(value, str) else typed[-1]
