"""Composes the overrides of a command line into one checked configuration, or reports all that is wrong with it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from lit_mlfund.config.catalog import PRIMARY, Catalog, catalog
from lit_mlfund.config.check import check
from lit_mlfund.config.errors import ConfigError, suggestion
from lit_mlfund.config.overrides import parse, read_overrides, searchpath
from lit_mlfund.config.replaced import drop_replaced_values
from lit_mlfund.config.type_hints import MISSING, UNRESOLVED

VERSION_BASE = "1.3"  # Hydra's defaults as of this version: no change of directory, among others
_REWIRING = {"task", "experiment", "debug"}  # groups whose options choose those of other groups
# packages that bring launchers and sweepers of Hydra
_PLUGINS = {
    "launcher/submitit_slurm": "hydra-submitit-launcher",
    "launcher/submitit_local": "hydra-submitit-launcher",
    "launcher/joblib": "hydra-joblib-launcher",
    "sweeper/optuna": "hydra-optuna-sweeper",
}


@dataclass
class Composed:
    """Holds a composed configuration and all that is wrong with it.

    config    plain Python, interpolations resolved
    hydra     Hydra's own section
    problems  one line each
    """

    config: dict[str, Any]
    hydra: DictConfig
    problems: list[str]


class Composer:
    """Composes and checks configurations from our folder and those that other projects add.

    Args:
        config_dir: a further folder of configuration files.
        lines: the overrides of the command line, for `hydra.searchpath`.
    """

    def __init__(self, config_dir: str | None = None, lines: Iterable[str] = ()):
        self.catalog: Catalog = catalog(config_dir, searchpath(lines))
        ours, *others = self.catalog.sources
        path = create_config_search_path(ours.url)
        for source in others:
            path.prepend(source.provider, source.url, anchor=SearchPathQuery(provider="schema"))
        GlobalHydra.instance().clear()
        version.setbase(VERSION_BASE)
        self.hydra = Hydra.create_main_hydra2("mlfund", path)
        self._last: tuple[tuple[str, ...] | None, Any] = (None, None)  # choice of files, and its composition

    def compose(self, lines: Iterable[str]) -> Composed:
        """Compose and check one configuration; what is wrong is in `problems`."""
        overrides = read_overrides(lines, self.catalog, sweep=False)
        problems = [*self.catalog.shadows(), *overrides.problems]
        try:
            composed = self._composed(overrides.lines)
        except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
            raise ConfigError([*problems, _missing_plugin(str(error)) or one_line(error)]) from error
        problems += [problem for override in overrides.deleted for problem in delete(composed, override)]
        typed = [line.lstrip("+").partition("=")[0] for line in overrides.lines]
        drop_replaced_values(composed, self.catalog, typed)
        config, unresolved = plain(composed)
        certain = [
            problem for problem in check(config, self.catalog) if _is_certain(problem, overrides.unknown)
        ]
        return Composed(config, composed.hydra, [*problems, *unresolved, *certain])

    def _composed(self, lines: list[str]) -> DictConfig:
        """Compose `lines` with Hydra.

        Merging the chosen files takes most of the time and does not depend on values, which are set afterwards. So the
        result for the last choice of files is reused, and the combinations of a sweep are composed about once.
        """
        values = [line for line in lines if line.startswith("++") and not line.startswith("++hydra.")]
        choice = tuple(line for line in lines if line not in values)
        if choice != self._last[0]:
            composed = self.hydra.compose_config(
                config_name=PRIMARY,
                overrides=list(choice),
                run_mode=RunMode.RUN,
                with_log_configuration=False,
            )
            self._last = choice, composed
        composed = copy.deepcopy(self._last[1])
        ConfigLoaderImpl._apply_overrides_to_config([parse(line) for line in values], composed)
        composed.hydra.overrides.task.extend(values)
        return composed

    def checked(self, lines: Iterable[str]) -> Composed:
        """Compose a configuration that can be run; raises ConfigError with all its problems."""
        composed = self.compose(lines)
        if composed.problems:
            raise ConfigError(composed.problems)
        return composed


def _is_certain(problem: str, unknown: set[str]) -> bool:
    """Return whether a problem remains although unknown options of some groups were left at their defaults."""
    if not unknown:
        return True
    section, *below = problem.split(":")[0].split(" ")[0].split(".")
    if unknown & _REWIRING:
        return not below and ": unknown; " in problem
    return section not in unknown and " does not fit " not in problem and " inputs, but " not in problem


def delete(config: DictConfig, override: Override) -> Iterator[str]:
    """Delete a value as Hydra would, after composing, so that a wrong name does not hide other problems."""
    parent_path, _, key = override.key_or_group.rpartition(".")
    parent = OmegaConf.select(config, parent_path) if parent_path else config
    if not isinstance(parent, DictConfig) or key not in parent:
        known = [str(name) for name in parent] if isinstance(parent, DictConfig) else []
        yield f"{override.input_line}: there is no {override.key_or_group}; {suggestion(key, known)}"
    elif override.value() is not None and override.value() != parent.get(key):
        yield f"{override.input_line}: {override.key_or_group} is {parent.get(key)}"
    else:
        with open_dict(parent):
            del parent[key]


def plain(config: DictConfig) -> tuple[dict[str, Any], list[str]]:
    """Return a composed configuration as plain Python, without Hydra's section, and what could not be resolved."""
    previous = HydraConfig.instance().cfg
    if "hydra" in config:
        HydraConfig.instance().set_config(config)  # for ${hydra:…}
    problems: list[str] = []
    try:
        return {
            str(key): _plain(config, key, str(key), problems) for key in config if key != "hydra"
        }, problems
    finally:
        HydraConfig.instance().cfg = previous


def _plain(parent: DictConfig | ListConfig, key: Any, path: str, problems: list[str]) -> Any:
    try:
        value: Any = parent[key]
    except MissingMandatoryValue:
        return MISSING
    except OmegaConfBaseException as error:
        problems.append(f"{path}: {one_line(error)}")
        return UNRESOLVED
    if isinstance(value, DictConfig):
        return {str(inner): _plain(value, inner, f"{path}.{inner!s}", problems) for inner in value}
    if isinstance(value, ListConfig):
        return [_plain(value, position, f"{path}[{position}]", problems) for position in range(len(value))]
    return value


def _missing_plugin(message: str) -> str | None:
    """Return what to do about a launcher or sweeper that is not there, from Hydra's message."""
    found = re.search(r"Could not find 'hydra/(launcher|sweeper)/(\w+)'", message)
    if found is None:
        return None
    kind, name = found.groups()
    choice = f"hydra/{kind}={name}"
    if name == "optuna":
        return f"{choice}: is replaced by sweep=search"
    if kind == "launcher" and name.startswith(("joblib", "submitit")):
        return f"{choice}: needs a package that is not installed; pip install 'lit_mlfund[sweep]'"
    return None


def one_line(error: BaseException) -> str:
    """Return the message of Hydra or OmegaConf without its trailing lines of context."""
    messages = [str(error).split("\nConfig search path:")[0]]
    if isinstance(error.__cause__, OmegaConfBaseException):
        messages.append(str(error.__cause__))
    lines = [line.strip() for line in "\n".join(messages).splitlines()]
    lines = [
        line for line in lines if line and not line.startswith(("full_key:", "object_type=", "See http"))
    ]
    missing = [
        f"; it comes with: pip install {package}"
        for plugin, package in _PLUGINS.items()
        if f"Could not find 'hydra/{plugin}'" in messages[0]
    ]
    return " ".join(lines) + "".join(missing)
