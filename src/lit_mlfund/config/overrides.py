"""Checks the overrides of a command line before Hydra composes, so that one mistake does not hide the next."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from hydra.errors import OverrideParseException

from lit_mlfund.config.catalog import Catalog
from lit_mlfund.config.errors import ConfigError, closest, suggestion

_PLAIN_KEY = re.compile(r"\+{0,2}[A-Za-z_][\w.]*")
_PLAIN_TEXT = re.compile(
    r"""(?!(choice|range|interval|glob|sort|shuffle|tag|int|float|str|bool)\()[^\[\]{}'",]+"""
)
# Marks that Hydra's grammar takes for its own, and the words that say them.
_MARKS = {",": "comma", "'": "apostrophe"}
_KEYS_OF_MARKS = ("data.decimal", "data.thousands", "data.separator")
_QUOTED_KEY = re.compile(r"""(["'])([\w.*?$/+-]+)\1(?=\s*:)""")


@dataclass
class Overrides:
    """Holds the checked overrides of a command line.

    lines     overrides for Hydra; a value (`optim.lr=1`) may also be one that no file spells out
    deleted   values to delete after composing (`~data.time`)
    problems  what cannot be composed and was left out of `lines`
    unknown   groups whose option was left out: keys below them cannot be checked
    """

    lines: list[str] = field(default_factory=list)
    deleted: list[Override] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)


def searchpath(lines: Iterable[str]) -> list[str]:
    """Return the folders that `hydra.searchpath=[…]` adds."""
    for line in lines:
        if line.lstrip("+").startswith("hydra.searchpath="):
            value = parse(line).value()
            return [str(folder) for folder in (value if isinstance(value, list) else [value])]
    return []


def read_overrides(lines: Iterable[str], catalog: Catalog, sweep: bool) -> Overrides:
    """Check the syntax and the names of groups and options; `sweep` allows several values at once."""
    result = Overrides()
    for line in lines:
        try:
            override = parse(line)
        except OverrideParseException:
            result.problems.append(f"{line}: cannot be read; {_remedy(line)}")
            continue
        if override.is_sweep_override() and not sweep:
            key, _, values = line.partition("=")
            result.problems.append(
                f"{line}: for a sweep add -m; a list is written {key}=[{values}], a text {key}=\\'{values}\\'"
            )
            continue
        checked = _check(override, catalog, result)
        if override.is_delete() and checked is None:
            result.deleted.append(override)
        elif checked is not None:
            result.lines.append(checked)
    return result


def _remedy(line: str) -> str:
    key, equals, value = line.partition("=")
    if key in _KEYS_OF_MARKS and value in _MARKS:
        return f"say {key}={_MARKS[value]}"
    return "check its brackets, quotes and commas" if equals else "expected key=value"


def parse(line: str) -> Override:
    """Parse one override, also where Hydra's grammar requires other quotes.

    Text with spaces and brackets (`/data/day=1 (2).csv`) is quoted, keys of mappings (`{"*bias": 0.1}`) are not.
    """
    parser = OverridesParser.create()
    try:
        return parser.parse_overrides([line])[0]
    except OverrideParseException:
        key, _, value = line.partition("=")
        if value.startswith("{") and _QUOTED_KEY.search(value):
            unquoted = _QUOTED_KEY.sub(r"\2", value)
            return parser.parse_overrides([f"{key}={unquoted}"])[0]
        if not _PLAIN_KEY.fullmatch(key) or not _PLAIN_TEXT.fullmatch(value):
            raise
        return parser.parse_overrides([f"{key}={QuotedString(value, Quote.single).with_quotes()}"])[0]


def _check(override: Override, catalog: Catalog, result: Overrides) -> str | None:
    """Return the line to pass to Hydra; None where Hydra should not see it."""
    line, group = str(override.input_line), override.key_or_group
    if override.is_hydra_override():
        return line
    if override.is_delete():
        return line if group in catalog.groups or override.package else None
    if (group not in catalog.groups and not override.package) or isinstance(override.value(), dict):
        return f"++{line.lstrip('+')}"  # known or not: decided after composing, by the check of signatures
    if group not in catalog.groups:
        result.problems.append(f"{line}: there is no group {group}; {suggestion(group, catalog.groups)}")
        return None
    if override.is_force_add():
        result.problems.append(f"{line}: {group} is a group; choose its option with {line.lstrip('+')}")
        return None
    return _known_options(override, group, catalog, result)


def _known_options(override: Override, group: str, catalog: Catalog, result: Overrides) -> str | None:
    known = catalog.groups[group]
    line = str(override.input_line)
    value: Any = override.value()
    if value is None:
        return f"~{group}"
    chosen: list[Any] = []
    if isinstance(value, Glob):
        chosen = value.filter(sorted(known))
        if not chosen:
            result.problems.append(f"{line}: no {group} matches; known: {', '.join(sorted(known))}")
            return None
        return f"{override.get_key_element()}={','.join(chosen)}"
    if not override.is_sweep_override():
        chosen = value if isinstance(value, list) else [value]
    elif override.is_discrete_sweep():
        chosen = list(override.sweep_iterator())
    wrong = [str(option) for option in chosen if str(option) not in known]
    for option in wrong:
        result.problems.append(f"{group}: there is no {group}={option}; {suggestion(option, sorted(known))}")
    if not wrong:
        return line
    similar = closest(wrong[0], known)
    if len(chosen) == 1 and similar is not None:
        return f"{override.get_key_element()}={similar}"  # to look for further problems
    result.unknown.add(group)
    return None


def plain_values(lines: Iterable[str], required: str) -> dict[str, Any] | None:
    """Return the values of all `lines` by key when `required` is among them and not null, else None.

    Raises ConfigError when one of them is not `key=value`.
    """
    if not any(line.lstrip("+").startswith(f"{required}=") for line in lines):
        return None
    values: dict[str, Any] = {}
    problems = []
    for line in lines:
        try:
            override = parse(line)
        except OverrideParseException:
            problems.append(f"{line}: cannot be read")
        else:
            values[override.key_or_group] = override.value()
    if problems:
        raise ConfigError(problems)
    return values if values[required] is not None else None
