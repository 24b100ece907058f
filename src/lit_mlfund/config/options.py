"""Lists the options of a group, with the tasks and inputs that each declares, without importing them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lit_mlfund.config.catalog import Catalog
from lit_mlfund.config.signatures import describe
from lit_mlfund.config.source_signatures import PACKAGE, TargetError
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
        declared = tuple(_attributes(inner).get("tasks", ()))
        tasks = tuple(task for task in tasks if task in declared) if tasks and declared else tasks or declared
    if isinstance(node.get("task"), str) and node["task"] in tasks:
        tasks = (node["task"],)
    return Option(name, comment(file), tasks, tuple(_attributes(node).get("inputs", ())))


def _attributes(node: dict[str, Any]) -> dict[str, Any]:
    """Return what the target of a node declares; nothing where it is not ours."""
    target = node.get("_target_")
    with suppress(TargetError):
        if isinstance(target, str) and target.startswith(f"{PACKAGE}."):
            return describe(target).attributes
    return {}


def nodes(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and node of every target in `value`: a composed loss has one for each of its parts."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield path, value
        for key, part in value.items():
            yield from nodes(part, f"{path}.{key}")


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
