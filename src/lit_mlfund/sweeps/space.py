"""Reads what a search varies, from `sweep.space` and from overrides with several values, and says what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import OverrideParseException

from lit_mlfund.config.overrides import parse

_NUMBERS, _CHOICES = ("low", "high", "log", "step"), ("choices",)
_NOT_SEARCHED = ("sweep", "hydra", "run", "runs_dir", "name", "monitor", "task")
EXAMPLE = "sweep.space={optim.lr: {low: 1e-4, high: 1e-1, log: true}, loss: {choices: [bce, hinge]}}"


@dataclass(frozen=True)
class Numbers:
    """Describes a number between two ends, both possible; an integer where both ends are."""

    key: str
    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def is_integer(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int) and not isinstance(self.step, float)

    @property
    def ends(self) -> list[Any]:
        """Return the values to check before the start."""
        return [self.low, self.high]

    @property
    def points(self) -> list[Any] | None:
        """Return all values; None where there are too many to tell."""
        step = self.step or (1 if self.is_integer and not self.log else None)
        if step is None:
            return None
        count = int((self.high - self.low) / step + 1e-9) + 1
        values = (self.low + index * step for index in range(count))
        return [value if self.is_integer else float(f"{value:.12g}") for value in values]

    def problems(self) -> Iterator[str]:
        """Yield what is contradictory, one line each."""
        where = f"sweep.space.{self.key}"
        if not self.low < self.high:
            yield f"{where}: low must be below high, got {self.low:g} and {self.high:g}"
        if self.log and self.low <= 0:
            yield f"{where}: a logarithmic scale needs low above 0, got {self.low:g}"
        if self.step is not None and not self.step > 0:
            yield f"{where}: step must be above 0, got {self.step:g}"
        if self.log and self.step is not None:
            yield f"{where}: log and step exclude each other"


@dataclass(frozen=True)
class Choices:
    """Describes a value out of a list, each as the text of an override."""

    key: str
    values: tuple[str, ...]

    @property
    def ends(self) -> list[Any]:
        """Return the values to check before the start."""
        return list(self.values)

    @property
    def points(self) -> list[Any]:
        """Return all values."""
        return list(self.values)

    def problems(self) -> Iterator[str]:
        """Yield what is contradictory, one line each."""
        if not self.values:
            yield f"sweep.space.{self.key}: choices is empty"
        if len(set(self.values)) < len(self.values):
            yield f"sweep.space.{self.key}: a choice is given twice: {', '.join(self.values)}"


Dimension = Numbers | Choices


def setting(key: str, value: Any) -> str:
    """Return the override that sets a value of a dimension."""
    return f"{key}={value if isinstance(value, str) else _text(value)}"


def read_space(nodes: Mapping[str, Any], overrides: Iterable[Override]) -> tuple[list[Dimension], list[str]]:
    """Return the dimensions of a search, and what is wrong with them.

    Args:
        nodes: `sweep.space`: key -> {low, high, log, step}, {choices}, a list of choices, or text as in an override.
        overrides: the command line.
    """
    found: list[Dimension] = []
    problems: list[str] = []
    fixed = []
    for line in overrides:
        if line.is_sweep_override():
            found.append(_of_override(line))
        elif not line.is_delete():
            fixed.append(line.key_or_group)
    for key, node in (nodes or {}).items():
        try:
            found.append(_of_node(str(key), node))
        except (ValueError, OverrideParseException) as error:
            problems.append(f"sweep.space.{key}: {str(error).splitlines()[0]}")
    keys = [dimension.key for dimension in found]
    for dimension in found:
        problems += dimension.problems()
        if dimension.key.partition(".")[0] in _NOT_SEARCHED:
            problems.append(f"sweep.space.{dimension.key}: cannot be searched")
        if dimension.key in fixed:
            problems.append(
                f"{dimension.key}: is searched, and fixed on the command line; leave one of them out"
            )
    problems += [
        f"{key}: is searched in two ways; leave one of them out"
        for key in dict.fromkeys(keys)
        if keys.count(key) > 1
    ]
    if not found and not problems:
        problems.append(f"sweep.space: is empty; say what is searched, such as {EXAMPLE}")
    return found, problems


def _of_override(line: Override) -> Dimension:
    key, value = line.key_or_group, line.value()
    if isinstance(value, IntervalSweep):
        return Numbers(key, value.start, value.end, log="log" in value.tags)  # type: ignore[arg-type]
    if isinstance(value, RangeSweep) and not value.shuffle:
        values = [
            float(text) if "." in text or "e" in text else int(text) for text in line.sweep_string_iterator()
        ]
        if len(values) > 1:
            return Numbers(key, min(values), max(values), step=abs(value.step))
    return Choices(key, tuple(line.sweep_string_iterator()))


def _of_node(key: str, node: Any) -> Dimension:
    if isinstance(node, str):
        parsed = parse(f"{key}={node}")
        if not parsed.is_sweep_override():
            raise ValueError(f"expected several values, got {node}")
        return _of_override(parsed)
    if isinstance(node, (list, tuple)):
        node = {"choices": node}
    if not isinstance(node, Mapping):
        raise ValueError(f"expected low and high, or choices, got {node}")
    names = set(node)
    if not names <= {*_NUMBERS} and not names <= {*_CHOICES}:
        unknown = ", ".join(sorted(map(str, names - {*_NUMBERS, *_CHOICES})))
        raise ValueError(f"unknown: {unknown}" if unknown else "choices exclude low and high")
    if "choices" in node:
        if not isinstance(node["choices"], (list, tuple)):
            raise ValueError(f"choices: expected a list, got {node['choices']}")
        return Choices(key, tuple(_text(choice) for choice in node["choices"]))
    if not {"low", "high"} <= names:
        raise ValueError("needs low and high, or choices")
    numbers = {name: node[name] for name in ("low", "high", "step") if node.get(name) is not None}
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError(f"{name}: expected a number, got {number}")
    return Numbers(key, log=bool(node.get("log", False)), **numbers)


def _text(value: Any) -> str:
    """Return a value as the text of an override."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(part)}" for key, part in value.items()) + "}"
    return repr(value) if isinstance(value, float) else str(value)
