"""What the target of a `_target_` takes and declares: ours read from source, other people's by importing them.

Reading costs a millisecond a file where importing costs seconds of torch, so a typo is answered at once.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lit_mlfund.runtime.annotations import ANY, Hint, optional, parse
from lit_mlfund.runtime.errors import suggestion

PACKAGE = "lit_mlfund"
_ROOT = Path(__file__).resolve().parents[1]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Bases from other packages whose own constructor takes nothing that a configuration would give.
_BARE_BASES = {"object", "Module", "LightningModule", "LightningDataModule", "Callback", "Checkpoint", "ABC"}


class TargetError(LookupError):
    """A `_target_` that leads nowhere; the message reads after the path of the node."""


@dataclass(frozen=True)
class Target:
    """A class or function that a node can build.

    parameters  name -> type hint, of all that can be given by keyword
    required    the parameters without a default
    open        it takes any keyword (`**kwargs`)
    attributes  literal class attributes: `tasks`, `inputs`, `metrics`, …
    """

    path: str
    parameters: dict[str, Hint]
    required: frozenset[str] = frozenset()
    open: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)


class _Unreadable(Exception):
    """The source alone does not tell; the target has to be imported."""


@cache
def describe(path: str) -> Target:
    """The target that a `_target_` names; raises TargetError when there is no such thing."""
    if path.split(".")[0] == PACKAGE and "." in path:
        try:
            return _read(path)
        except _Unreadable:
            pass
    return _import(path)


# --- ours: read from source -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """A top-level class or function and the module it stands in."""

    module: str
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class _Module:
    """The top-level names of a source file: definitions, assignments and `from x import name as alias`."""

    definitions: dict[str, ast.stmt]
    assignments: dict[str, ast.expr]
    imports: dict[str, tuple[str, str]]


def _file(module: str) -> Path | None:
    stem = _ROOT.joinpath(*module.split(".")[1:])
    return next((file for file in (stem / "__init__.py", stem.with_suffix(".py")) if file.is_file()), None)


@cache
def _module(name: str) -> _Module:
    file = _file(name)
    assert file is not None
    module = _Module({}, {}, {})
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, (ast.ClassDef, *_FUNCTIONS)):
            module.definitions[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            module.assignments[node.targets[0].id] = node.value
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            module.imports.update({alias.asname or alias.name: (node.module, alias.name) for alias in node.names})
    return module


def _find(module: str, name: str) -> _Place | None:
    """Follow re-exports to the definition of `name`; None where it leaves our own package."""
    while _file(module) is not None:
        here = _module(module)
        if name in here.definitions:
            return _Place(module, here.definitions[name])  # type: ignore[arg-type]
        if name not in here.imports:
            return None
        module, name = here.imports[name]
        if module.split(".")[0] != PACKAGE:
            return None
    return None


def _read(path: str) -> Target:
    module, _, name = path.rpartition(".")
    if _file(module) is None:
        raise TargetError(f"there is no module {module}")
    place = _find(module, name)
    if place is None:
        here = _module(module)
        if name in here.imports or name in here.assignments:
            raise _Unreadable
        offered = [known for known in (*here.definitions, *here.imports) if not known.startswith("_")]
        raise TargetError(f"there is no {name} in {module}; {suggestion(name, offered)}")
    if isinstance(place.node, ast.ClassDef):
        parameters, required, is_open = _constructor(place)
        return Target(path, parameters, required, is_open, _attributes(place))
    return Target(path, *_arguments(place.node, place.module, method=False))


_Arguments = tuple[dict[str, Hint], frozenset[str], bool]


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef, module: str, method: bool) -> _Arguments:
    given = node.args
    positional = [*given.posonlyargs, *given.args][1 if method else 0 :]
    required = {arg.arg for arg in positional[: len(positional) - len(given.defaults)]}
    required |= {arg.arg for arg, default in zip(given.kwonlyargs, given.kw_defaults) if default is None}
    hints = {arg.arg: _hint(arg.annotation, module) for arg in (*positional, *given.kwonlyargs)}
    defaults = [*zip(reversed(positional), reversed(given.defaults)), *zip(given.kwonlyargs, given.kw_defaults)]
    for arg, default in defaults:
        if isinstance(default, ast.Constant) and default.value is None:
            hints[arg.arg] = optional(hints[arg.arg])
    return hints, frozenset(required), given.kwarg is not None


def _constructor(place: _Place) -> _Arguments:
    body = {node.name: node for node in place.node.body if isinstance(node, _FUNCTIONS)}
    if "__init__" in body:
        return _with_inherited(_arguments(body["__init__"], place.module, method=True), body["__init__"], place)
    if any("dataclass" in ast.unparse(decorator) for decorator in place.node.decorator_list):
        return _fields(place)
    for base in place.node.bases:
        name = ast.unparse(base).split("[")[0]
        ours = _find(place.module, name)
        if ours is not None:
            return _constructor(ours)
        if name.split(".")[-1] not in _BARE_BASES:
            raise _Unreadable
    return {}, frozenset(), False


def _with_inherited(own: _Arguments, init: ast.FunctionDef | ast.AsyncFunctionDef, place: _Place) -> _Arguments:
    """Add what `super().__init__(…, **kwargs)` passes on to a base of ours."""
    base = next((found for base in place.node.bases if (found := _find(place.module, ast.unparse(base)))), None)
    calls = [node for node in ast.walk(init) if isinstance(node, ast.Call) and "super().__init__" in ast.unparse(node.func)]
    if not own[2] or base is None or not calls or all(keyword.arg for keyword in calls[0].keywords):
        return own
    given = {keyword.arg for keyword in calls[0].keywords}
    hints, required, is_open = _constructor(base)
    passed = {name: hint for name, hint in hints.items() if name not in given}
    return passed | own[0], own[1] | (required & passed.keys()), is_open


def _fields(place: _Place) -> _Arguments:
    hints: dict[str, Hint] = {}
    required: set[str] = set()
    for base in place.node.bases:
        ours = _find(place.module, ast.unparse(base))
        if ours is not None:
            inherited, needed, _ = _fields(ours)
            hints, required = hints | inherited, required | needed
    for node in place.node.body:
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
            name = ast.unparse(node.target)
            hints[name] = _hint(node.annotation, place.module)
            required = required | {name} if node.value is None else required - {name}
    return hints, frozenset(required), False


def _hint(annotation: ast.expr | None, module: str) -> Hint:
    return parse(annotation, lambda name: _alias(module, name)) if annotation is not None else ANY


def _alias(module: str, name: str) -> Hint:
    """The hint behind a name such as `Precision = Literal[…]`, here or in the module that it came from."""
    while module.split(".")[0] == PACKAGE and _file(module) is not None:
        here = _module(module)
        if name in here.assignments:
            return _hint(here.assignments[name], module)
        if name not in here.imports:
            return ANY
        module, name = here.imports[name]
    return ANY


def _attributes(place: _Place) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(place.node.bases):
        ours = _find(place.module, ast.unparse(base).split("[")[0])
        if ours is not None:
            found |= _attributes(ours)
    for node in place.node.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and getattr(node, "value", None) is not None:
            try:
                found[target.id] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except ValueError:
                found.pop(target.id, None)
    return found


# --- other people's: imported -----------------------------------------------------------------------------


def _import(path: str) -> Target:
    target = _locate(path)
    if not callable(target):
        raise TargetError(f"{path} is not a class or function")
    attributes = {
        name: getattr(target, name)
        for name in ("tasks", "inputs", "metrics", "task")
        if isinstance(getattr(target, name, None), (tuple, list, dict, str))
    }
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):
        return Target(path, {}, open=True, attributes=attributes)
    hints: dict[str, Hint] = {}
    required, is_open = set(), False
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = True
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            written = parameter.annotation
            hints[name] = ANY if written is parameter.empty else parse(inspect.formatannotation(written))
            if parameter.default is parameter.empty:
                required.add(name)
            elif parameter.default is None:
                hints[name] = optional(hints[name])
    return Target(path, hints, frozenset(required), is_open, attributes)


def _locate(path: str) -> Any:
    parts = path.split(".")
    if not all(part.isidentifier() for part in parts) or len(parts) < 2:
        raise TargetError(f"{path!r} is not the dotted path of a class or function")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")) and cut > 1:
                continue  # the path goes on inside a class, or is wrong further up
            raise TargetError(f"cannot import {path}: {error}") from error
        except Exception as error:
            raise TargetError(f"cannot import {path}: {type(error).__name__}: {error}") from error
        for part in parts[cut:]:
            if not hasattr(found, part):
                offered = [known for known in dir(found) if not known.startswith("_")]
                raise TargetError(f"there is no {part} in {name}; {suggestion(part, offered)}")
            found = getattr(found, part)
        return found
    raise TargetError(f"cannot import {path}")
