"""Checks a composed configuration against what it would build, and reports every problem at once.

A node with a `_target_` is checked against the signature of its target, anything else against the schema.
Our own targets are read from source, so that no check costs the import of torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lit_mlfund.config.catalog import Catalog
from lit_mlfund.config.compatibility import incompatibilities
from lit_mlfund.config.errors import suggestion
from lit_mlfund.config.schema import DEFAULTS, SECTIONS, VALUES, Section
from lit_mlfund.config.signatures import describe
from lit_mlfund.config.source_signatures import Target, TargetError
from lit_mlfund.config.type_hints import MISSING, Hint, TypeMismatch, coerce, members, show

_HYDRA_KEYS = {"_target_", "_args_", "_convert_", "_partial_", "_recursive_"}
_PLAIN = Section()
_BOUNDED = ("lit_mlfund.", "torch.")  # what the parameters of others may be is theirs to say


def check(config: dict[str, Any], catalog: Catalog) -> list[str]:
    """Return all problems of a composed, resolved configuration, each with the path of its key.

    In place, values are coerced to the type of their parameter (the text `1e-3` becomes a number where only a number
    is allowed), and values beside the sections that are absent get their defaults.
    """
    problems = []
    for name, default in DEFAULTS.items():
        config.setdefault(name, default)
    for key in config:
        if key not in SECTIONS and key not in VALUES and key not in catalog.foreign_groups:
            problems.append(f"{key}: unknown; {_suggestion(key, config)}")
    for name, section in SECTIONS.items():
        problems += _check_section(name, section, config, catalog)
    for name, hint in VALUES.items():
        if name in config:
            problems += _check_value(config, name, hint, name)
        else:
            problems.append(f"{name} is required: pass {name}=…")
    for name in (catalog.foreign_groups & config.keys()) - SECTIONS.keys():
        problems += _check_inner(config[name], name)
    return problems + incompatibilities(config, catalog)


def check_sections(config: dict[str, Any], catalog: Catalog) -> list[str]:
    """Return the problems of the sections and values that are in `config`; values are coerced as in `check`."""
    problems: list[str] = []
    for name in config:
        if name in SECTIONS:
            problems += _check_section(name, SECTIONS[name], config, catalog)
        elif name in VALUES:
            problems += _check_value(config, name, VALUES[name], name)
    return problems


def _check_section(name: str, section: Section, config: dict[str, Any], catalog: Catalog) -> Iterator[str]:
    node = config.get(name)
    options = ", ".join(catalog.groups.get(name, ()))
    if node is None:
        if not section.optional and not section.several:
            yield f"{name} is required: choose one of {options} with {name}=…"
    elif not isinstance(node, dict):
        yield f"{name}: expected a mapping, got {show(node)}"
    elif section.several:
        yield from _check_several(name, section, node)
    elif "_target_" in node:
        yield from _check_node(node, name, section)
    elif node or not section.optional:
        yield f"{name}: has no _target_; choose one of {options} with {name}=…, or name a class"


def _check_several(name: str, section: Section, nodes: dict[str, Any]) -> Iterator[str]:
    for key, node in nodes.items():
        path = f"{name}.{key}"
        if key in section.own:
            yield from _check_value(nodes, key, section.own[key], path)
            yield from _check_range(nodes, key, section, path)
        elif isinstance(node, dict) and "_target_" in node:
            yield from _check_node(node, path, Section(offered=section.offered))
        elif isinstance(node, dict) and node:
            yield f"{path}: has no _target_, so nothing would be built from it"
        elif node:
            yield f"{path}: unknown; {suggestion(key, section.own)}"


def _check_node(node: dict[str, Any], path: str, section: Section = _PLAIN) -> Iterator[str]:
    try:
        target = _target(node)
    except TargetError as error:
        yield f"{path}._target_: {error}"
        return
    by_program = {*section.supplied, *section.offered}
    for key in list(node):
        if key in _HYDRA_KEYS:
            continue
        key_path = f"{path}.{key}"
        if key in section.own:
            yield from _check_value(node, key, section.own[key], key_path)
        elif key in by_program:
            yield f"{key_path}: is given by the program; leave it out"
        elif key in target.parameters:
            if node[key] not in section.placeholders.get(key, ()):
                yield from _check_value(node, key, target.parameters[key], key_path)
                if target.path.startswith(_BOUNDED):
                    yield from _check_range(node, key, section, key_path)
        elif target.open and not key.startswith("_"):
            yield from _check_inner(node[key], key_path)
        else:
            known = [name for name in (*target.parameters, *section.own) if name not in by_program]
            yield f"{key_path}: unknown; {suggestion(key, known)}"
    if "_args_" not in node and not node.get("_partial_"):
        for name in sorted(target.required - by_program - node.keys()):
            yield f"{path}.{name} is required: pass {path}.{name}=…"
    if not target.open:
        for name in sorted(set(section.supplied) - target.parameters.keys()):
            yield f"{path}._target_: {target.path} takes no argument {name}, which the program gives"


def _target(node: dict[str, Any]) -> Target:
    path = node["_target_"]
    if not isinstance(path, str) or path == MISSING:
        raise TargetError("expected the dotted path of a class or function")
    return describe(path)


def _check_value(node: dict[str, Any], key: str, hint: Hint, path: str) -> Iterator[str]:
    value = node[key]
    inner = next((part for part in members(hint) if part.kind in ("dict", "record")), None)
    if inner is not None and isinstance(value, dict) and "_target_" not in value:
        yield from _check_entries(value, inner, path)
        return
    try:
        node[key] = coerce(value, hint)
    except TypeMismatch as mismatch:
        yield f"{path}: {mismatch}"
    else:
        yield from _check_inner(node[key], path)


def _check_range(node: dict[str, Any], key: str, section: Section, path: str) -> Iterator[str]:
    problem = section.ranges[key].problem(node[key]) if key in section.ranges else None
    if problem:
        yield f"{path} {problem}"


def _check_entries(value: dict[str, Any], hint: Hint, path: str) -> Iterator[str]:
    """Check a mapping entry by entry, so that each problem has its own path."""
    hints = dict(hint.parts) if hint.kind == "record" else dict.fromkeys(value, hint.parts[0])
    for name in list(value):
        if name in hints:
            yield from _check_value(value, name, hints[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}: unknown; {suggestion(name, hints)}"
    for name in sorted(hints.keys() - value.keys()):
        yield f"{path}.{name} is required: pass {path}.{name}=…"


def _check_inner(value: Any, path: str) -> Iterator[str]:
    """Check for values that are still missing, and check nodes with a target, at any depth of a value."""
    if value == MISSING:
        yield f"{path} is required: pass {path}=…"
    elif isinstance(value, dict) and "_target_" in value:
        yield from _check_node(value, path)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _check_inner(part, f"{path}.{key}")
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _check_inner(part, f"{path}[{position}]")


def _suggestion(key: str, config: dict[str, Any]) -> str:
    """Suggest where `key` belongs: `lr` is a parameter of `optim`, `sede` is a misspelt `seed`."""
    for name in SECTIONS:
        node = config.get(name)
        if isinstance(node, dict) and "_target_" in node:
            try:
                if key in _target(node).parameters:
                    return f"did you mean {name}.{key}?"
            except TargetError:
                continue
    return suggestion(key, [*SECTIONS, *VALUES])
