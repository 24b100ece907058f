"""Finds configuration files: in our own folder, and in those that other projects add to it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lit_mlfund.config.errors import ConfigError

PRIMARY = "train"  # conf/train.yaml
ENTRY_POINTS = "lit_mlfund.configs"  # name -> package that holds YAML files, e.g. `my = my_package.conf`


@dataclass(frozen=True)
class Source:
    """Describes one folder of configuration files and who provides it."""

    provider: str
    folder: Path

    @property
    def url(self) -> str:
        """Return the address of the folder for Hydra's search path."""
        return f"file://{self.folder}"

    @cached_property
    def files(self) -> dict[str, Path]:
        """Map `group/option` (or the name of a top-level file) to its YAML file."""
        return {path: file for path, file in sorted(_yaml_files(self.folder, ""))}


def _yaml_files(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for entry in os.scandir(folder):
        if entry.is_dir():
            if not entry.name.startswith((".", "__")):
                yield from _yaml_files(Path(entry.path), f"{prefix}{entry.name}/")
        elif entry.name.endswith((".yaml", ".yml")):
            yield prefix + entry.name.rpartition(".")[0], Path(entry.path)


@dataclass(frozen=True)
class Catalog:
    """Lists all configuration files that a command can name; ours come first."""

    sources: tuple[Source, ...]

    @cached_property
    def groups(self) -> dict[str, dict[str, Path]]:
        """Map each group to its options, and each option to its file."""
        groups: dict[str, dict[str, Path]] = {}
        for source in self.sources:
            for path, file in source.files.items():
                group, _, option = path.rpartition("/")
                if group:
                    groups.setdefault(group, {}).setdefault(option, file)
        return groups

    @cached_property
    def foreign_groups(self) -> set[str]:
        """Return the first parts of groups that only other projects have: using their nodes is up to them."""
        first = [{path.split("/")[0] for path in source.files if "/" in path} for source in self.sources]
        return set().union(*first[1:]) - first[0]

    def shadows(self) -> list[str]:
        """Return one problem for each file that an earlier one of the same name would silently shadow."""
        problems: list[str] = []
        seen: dict[str, str] = {}
        for source in self.sources:
            for path, file in source.files.items():
                if path in seen:
                    problems.append(
                        f"{file}: {seen[path]} has a {path}.yaml already; give yours another name"
                    )
                else:
                    seen[path] = source.provider
        return problems


def own_folder() -> Path:
    """Return the folder of `lit_mlfund.conf` beside this code: in a checkout `conf/`, in a wheel a package of ours.

    Python's import system has no say: with two checkouts and one environment it would find the other's.
    """
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1] / "conf"
    return checkout if package.parent.name == "src" and checkout.is_dir() else package / "conf"


def catalog(config_dir: str | None = None, searchpath: Iterable[Any] = ()) -> Catalog:
    """Return the catalog of our own folder, the entry points, `--config-dir` and `hydra.searchpath`, in this order.

    Raises ConfigError for a folder that does not exist.
    """
    sources = [Source("lit_mlfund", own_folder())]
    problems = []
    for provider, address in [*_entry_points(), *_requested(config_dir, searchpath)]:
        folder = _folder(address)
        if folder is None or not folder.is_dir():
            problems.append(f"{provider}: there is no folder {address}")
        else:
            sources.append(Source(provider, folder.resolve()))
    if problems:
        raise ConfigError(problems)
    return Catalog(tuple(sources))


def _entry_points() -> list[tuple[str, str]]:
    from importlib.metadata import entry_points

    points = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    return [(f"entry point {point.name}", f"pkg://{point.value}") for point in points]


def _requested(config_dir: str | None, searchpath: Iterable[Any]) -> Iterator[tuple[str, str]]:
    if config_dir is not None:
        yield "--config-dir", config_dir
    for address in searchpath:
        yield "hydra.searchpath", str(address)


def _folder(address: str) -> Path | None:
    """Return the folder behind a path, `file://path` or `pkg://package`, without importing a package to find it."""
    if not address.startswith("pkg://"):
        return Path(address.removeprefix("file://")).expanduser()
    top, *rest = address.removeprefix("pkg://").replace(":", ".").strip("/").split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    folders = [Path(root, *rest) for root in (spec.submodule_search_locations or ())] if spec else []
    return next((folder for folder in folders if folder.is_dir()), None)
