"""Checks a run folder that may come from elsewhere, before anything that it names is imported or built.

Its targets are classes of ours, of `torch.nn`, `torch.optim` and Lightning, each of the kind that its group builds;
other packages run code as soon as they are imported, and are named by the user (`--trust my_package`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.check import check_sections
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.config.kinds import wrong_kinds
from lit_mlfund.config.options import nodes
from lit_mlfund.config.schema import VALUES
from lit_mlfund.config.source_signatures import PACKAGE
from lit_mlfund.runs.execution.run_folder import RUN_FILE, load_frozen

KNOWN = (f"{PACKAGE}.", "torch.nn.", "torch.optim.", "lightning.pytorch.")
NEEDED = ("task", "data", "model", "loss")  # to open a trained model
_WRITING = ("trainer", "callbacks", "regularization", "logger")  # groups whose objects may write files


def load_checked(
    run_dir: Path, trust: Iterable[str] = (), needed: Iterable[str] = (), *, executed: bool = False
) -> dict[str, Any]:
    """Load the configuration of a run folder that may come from elsewhere.

    Args:
        run_dir: a run folder.
        trust: packages of others, or modules in them, that its targets may name.
        needed: sections that it must have, with values of the right types; by default only targets are checked.
        executed: whether it will be trained, and its loggers and callbacks write files.

    Raises:
        ConfigError: there is no such run, or it would build what it must not.
    """
    return check_strange(load_frozen(run_dir), run_dir / RUN_FILE, trust, needed, executed)


def check_strange(
    config: dict[str, Any],
    file: Path,
    trust: Iterable[str] = (),
    needed: Iterable[str] = (),
    executed: bool = False,
) -> dict[str, Any]:
    """Return a configuration of a file that may come from elsewhere; the rest as `load_checked`."""
    trust, needed = tuple(trust), tuple(needed)
    if unknown := list(_untrusted(config, trust)):
        raise ConfigError(f"{file}: {problem}" for problem in unknown)
    problems = [f"{name}: is missing" for name in needed if not isinstance(config.get(name), dict)]
    problems += [*wrong_kinds(config, strict=True), *(_outside_paths(config, trust) if executed else ())]
    if needed and not problems:
        problems += check_sections(
            {name: config[name] for name in (*needed, *VALUES) if name in config}, catalog()
        )
    if problems:
        raise ConfigError(f"{file}: {problem}" for problem in problems)
    return config


def strange_packages(config: dict[str, Any]) -> list[str]:
    """Return the packages of others that the targets of a configuration name, each of which needs to be trusted."""
    return list(dict.fromkeys(target.split(".")[0] for _, target in _strange_targets(config, ())))


def _strange_targets(config: dict[str, Any], trust: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for path, node in nodes(config, ""):
        target = str(node["_target_"])
        if not f"{target}.".startswith((*KNOWN, *(f"{package}." for package in trust))):
            yield path, target


def _untrusted(config: dict[str, Any], trust: tuple[str, ...]) -> Iterator[str]:
    for path, target in _strange_targets(config, trust):
        package = target.split(".")[0]
        yield (
            f"{path.removeprefix('.')}._target_: {target} is code of another package, which would run; "
            f"where you know the run and trust it, add --trust {package}"
        )


def _outside_paths(config: dict[str, Any], trust: tuple[str, ...]) -> Iterator[str]:
    """Report values by which loggers, callbacks and the trainer would write outside the run folder."""
    for group in _WRITING:
        for path, node in nodes(config.get(group), group):
            package = str(node["_target_"]).split(".")[0]
            if package in trust:
                continue
            for key, value in node.items():
                if key != "_target_" and isinstance(value, str) and _leads_outside(value):
                    yield (
                        f"{path}.{key}: {value} leads outside the run folder; where you know the run and trust it, "
                        f"add --trust {package}"
                    )


def _leads_outside(value: str) -> bool:
    return value.startswith(("/", "~")) or ".." in Path(value).parts or "://" in value
