"""Describes what a `_target_` takes and declares: ours are read from source, those of other packages imported.

Reading costs a millisecond a file where importing costs seconds of torch, so a typo is reported at once.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from lit_mlfund.config.errors import suggestion
from lit_mlfund.config.moved import current_path
from lit_mlfund.config.source_signatures import PACKAGE, Target, TargetError, Unreadable, read
from lit_mlfund.config.type_hints import ANY, Hint, optional, parse

_DECLARED = ("tasks", "inputs", "metrics", "task")


@functools.cache
def describe(path: str) -> Target:
    """Return the target that a `_target_` names; raises TargetError when it does not exist."""
    path = current_path(path)
    parts = path.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise TargetError(f"{path!r} is not the dotted path of a class or function")
    if parts[0] == PACKAGE:
        try:
            return read(path)
        except Unreadable:
            pass
    return _imported(path)


def declared(node: Any, name: str, imports: bool = True) -> Any:
    """Return a class attribute of a node's target; None where the target is unknown or lacks it.

    Args:
        node: a node, or any other value.
        name: the attribute.
        imports: whether classes of other packages are imported for it; otherwise they declare nothing.
    """
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(target, str) or not (imports or target.startswith(f"{PACKAGE}.")):
        return None
    try:
        return describe(target).attributes.get(name) or None
    except TargetError:
        return None


def _imported(path: str) -> Target:
    target = _locate(path)
    if not callable(target):
        raise TargetError(f"{path} is not a class or function")
    literals = {name: getattr(target, name, None) for name in _DECLARED}
    attributes = {
        name: value for name, value in literals.items() if isinstance(value, (tuple, list, dict, str))
    }
    made = _unwrapped(target)
    is_class, home = inspect.isclass(made), str(getattr(made, "__module__", None) or path.split(".")[0])
    bases: tuple[str, ...] = ()
    if is_class:
        bases = tuple(f"{base.__module__}.{base.__qualname__}" for base in inspect.getmro(made))
        if (forward := _keywords(getattr(made, "forward", None))) is not None:
            attributes["forward"] = forward
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):  # built into Python's core, without a signature
        return Target(path, {}, frozenset(), True, attributes, bases, home, is_class)
    hints: dict[str, Hint] = {}
    required, is_open = set(), False
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = True
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            annotation = parameter.annotation
            hints[name] = (
                ANY if annotation is parameter.empty else parse(inspect.formatannotation(annotation))
            )
            if parameter.default is parameter.empty:
                required.add(name)
            elif parameter.default is None:
                hints[name] = optional(hints[name])
    return Target(path, hints, frozenset(required), is_open, attributes, bases, home, is_class)


def _unwrapped(target: Any) -> Any:
    """Return the class or function that a `functools.partial` calls in the end."""
    while isinstance(target, functools.partial):
        target = target.func
    return target


def _keywords(function: Any) -> tuple[str, ...] | None:
    """Return what a function takes by keyword; None where it takes any keyword, or that is unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return tuple(parameter.name for parameter in parameters)


def _locate(path: str) -> Any:
    """Import the object that `path` names: its longest prefix that is a module, then attributes."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            located: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if cut > 1 and f"{name}.".startswith(f"{error.name}."):
                continue  # the path goes on inside a class, or is wrong further up
            raise TargetError(f"cannot import {path}: {error}") from error
        except Exception as error:
            raise TargetError(f"cannot import {path}: {type(error).__name__}: {error}") from error
        for part in parts[cut:]:
            if not hasattr(located, part):
                offered = [known for known in dir(located) if not known.startswith("_")]
                raise TargetError(f"there is no {part} in {name}; {suggestion(part, offered)}")
            located = getattr(located, part)
        return located
    raise TargetError(f"cannot import {path}")
