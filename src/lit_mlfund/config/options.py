"""Lists the options of a group, with the tasks and inputs that each declares, without importing them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lit_mlfund.config.catalog import Catalog
from lit_mlfund.config.signatures import declared
from lit_mlfund.config.type_hints import MISSING


@dataclass(frozen=True)
class Option:
    """Describes one file of a group: its name, its first line of comment, and what its target declares."""

    name: str
    comment: str = ""
    tasks: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


def options(catalog: Catalog, group: str) -> list[Option]:
    """Return the options of a group in alphabetical order, without importing the targets of other packages."""
    return [
        _option(catalog, group, name, file) for name, file in sorted(catalog.groups.get(group, {}).items())
    ]


def _option(catalog: Catalog, group: str, name: str, file: Path) -> Option:
    node = node_of(catalog, group, name)
    tasks: tuple[str, ...] = ()
    for _, inner in nodes(node, group):
        fitting = tuple(declared(inner, "tasks", imports=False) or ())
        tasks = tuple(task for task in tasks if task in fitting) if tasks and fitting else tasks or fitting
    if isinstance(node.get("task"), str) and node["task"] in tasks:
        tasks = (node["task"],)
    return Option(name, comment(file), tasks, tuple(declared(node, "inputs", imports=False) or ()))


def nodes(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and node of every target in `value`, at any depth: a composed loss has one for each of its parts."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield path, value
        for key, part in value.items():
            yield from nodes(part, f"{path}.{key}")
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from nodes(part, f"{path}[{position}]")


def comment(file: Path) -> str:
    """Return the first line of comment that is not a directive to Hydra."""
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("#") and not text.lstrip("# ").startswith("@package"):
            return text.lstrip("# ")
        if text and not text.startswith("#"):
            break
    return ""


@cache
def _load(file: Path) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.load(file.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def node_of(catalog: Catalog, group: str, name: str) -> dict[str, Any]:
    """Merge the node of a file with those of its group that it builds on; enough to see its target."""
    file = catalog.groups.get(group, {}).get(name)
    if file is None:
        return {}
    content = _load(file)
    node: dict[str, Any] = {}
    defaults = content.get("defaults")
    for entry in defaults if isinstance(defaults, list) else ():
        if isinstance(entry, str) and entry not in ("_self_", name):
            node |= node_of(catalog, group, entry)
    own = content.get(group, {}) if "@package _global_" in file.read_text(encoding="utf-8") else content
    return node | {key: value for key, value in own.items() if key != "defaults" and value != MISSING}
