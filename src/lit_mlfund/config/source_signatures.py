"""Reads what our own classes and functions take and declare from their source, without importing them.

Re-exports are followed, constructors are looked up in our own bases, and literal class attributes are read.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lit_mlfund.config.errors import suggestion
from lit_mlfund.config.type_hints import ANY, Hint, optional, parse

PACKAGE = "lit_mlfund"
_ROOT = Path(__file__).resolve().parents[1]
# Bases from other packages whose own constructor takes nothing that a configuration would set.
_BARE_BASES = {"object", "Module", "LightningModule", "LightningDataModule", "Callback", "Checkpoint", "ABC"}
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Arguments = tuple[dict[str, Hint], frozenset[str], bool]  # hints, required, open


class TargetError(LookupError):
    """Reports a `_target_` that leads nowhere; the message continues the path of the node."""


@dataclass(frozen=True)
class Target:
    """Describes a class or function that a node can build.

    parameters  name -> type hint, of all that can be passed by keyword
    required    the parameters without a default
    open        takes any keyword (`**kwargs`)
    attributes  literal class attributes: `tasks`, `inputs`, `metrics`, …
    bases       dotted paths of the class and its bases, of classes that had to be imported
    home        module that defines it
    is_class    whether it is a class
    """

    path: str
    parameters: dict[str, Hint]
    required: frozenset[str] = frozenset()
    open: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)
    bases: tuple[str, ...] = ()
    home: str = ""
    is_class: bool = False


class Unreadable(Exception):
    """Signals that the source alone does not suffice; the target has to be imported."""


def read(path: str) -> Target:
    """Read the target `lit_mlfund.…` from its source; raises TargetError or Unreadable."""
    module, _, name = path.rpartition(".")
    if _file(module) is None:
        raise TargetError(f"there is no module {module}")
    definition = _find(module, name)
    if definition is None:
        source = _module(module)
        if name in source.assignments:
            raise Unreadable
        if name in source.imports:
            raise TargetError(f"{path} is not defined in {PACKAGE}, which only imports it")
        offered = [known for known in (*source.definitions, *source.imports) if not known.startswith("_")]
        raise TargetError(f"there is no {name} in {module}; {suggestion(name, offered)}")
    module, node = definition
    if isinstance(node, ast.ClassDef):
        hints, required, is_open = _constructor(module, node)
        return Target(path, hints, required, is_open, _attributes(module, node), home=module, is_class=True)
    hints, required, is_open = _arguments(module, node, method=False)
    return Target(path, hints, required, is_open, _decorator_arguments(node), home=module)


@dataclass(frozen=True)
class _Module:
    """Holds the top-level names of a source file; `imports` maps a name to its module and its name there."""

    definitions: dict[str, ast.ClassDef | _Function]
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
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                module.definitions[node.name] = node
            case ast.Assign(targets=[ast.Name(id=target)]) | ast.AnnAssign(target=ast.Name(id=target)):
                if node.value is not None:
                    module.assignments[target] = node.value
            case ast.ImportFrom(module=str() as origin, level=0):
                for alias in node.names:
                    module.imports[alias.asname or alias.name] = (origin, alias.name)
    return module


def _ours(module: str) -> bool:
    return module.split(".")[0] == PACKAGE and _file(module) is not None


def _find(module: str, name: str) -> tuple[str, ast.ClassDef | _Function] | None:
    """Follow re-exports to the definition of `name`; None where they leave our package or end."""
    while _ours(module):
        source = _module(module)
        if name in source.definitions:
            return module, source.definitions[name]
        if name not in source.imports:
            return None
        module, name = source.imports[name]
    return None


def _bases(module: str, node: ast.ClassDef) -> list[tuple[str, ast.ClassDef]]:
    """Return the bases of a class that are ours."""
    definitions = (_find(module, ast.unparse(base).split("[")[0]) for base in node.bases)
    return [(found[0], found[1]) for found in definitions if found and isinstance(found[1], ast.ClassDef)]


def _arguments(module: str, node: _Function, method: bool) -> _Arguments:
    args = node.args
    positional = [*args.posonlyargs, *args.args][1 if method else 0 :]
    required = {arg.arg for arg in positional[: len(positional) - len(args.defaults)]}
    required |= {arg.arg for arg, default in zip(args.kwonlyargs, args.kw_defaults) if default is None}
    hints = {arg.arg: _hint(arg.annotation, module) for arg in (*positional, *args.kwonlyargs)}
    trailing = zip(reversed(positional), reversed(args.defaults))
    for arg, default in (*trailing, *zip(args.kwonlyargs, args.kw_defaults)):
        if isinstance(default, ast.Constant) and default.value is None:
            hints[arg.arg] = optional(hints[arg.arg])
    return hints, frozenset(required), args.kwarg is not None


def _constructor(module: str, node: ast.ClassDef) -> _Arguments:
    for part in node.body:
        if isinstance(part, _Function) and part.name == "__init__":
            return _with_inherited(module, node, part)
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return _fields(module, node)
    for base in node.bases:
        name = ast.unparse(base).split("[")[0]
        definition = _find(module, name)
        if definition is not None and isinstance(definition[1], ast.ClassDef):
            return _constructor(definition[0], definition[1])
        if name.split(".")[-1] not in _BARE_BASES:
            raise Unreadable
    return {}, frozenset(), False


def _with_inherited(module: str, node: ast.ClassDef, init: _Function) -> _Arguments:
    """Return the arguments of a constructor, and those that `super().__init__(…, **kwargs)` passes to our base."""
    own = hints, required, is_open = _arguments(module, init, method=True)
    bases = _bases(module, node)
    calls = (part for part in ast.walk(init) if isinstance(part, ast.Call))
    call = next((call for call in calls if ast.unparse(call.func) == "super().__init__"), None)
    if not is_open or not bases or call is None or all(keyword.arg for keyword in call.keywords):
        return own
    passed = {keyword.arg for keyword in call.keywords}
    inherited, needed, is_open = _constructor(*bases[0])
    forwarded = {name: hint for name, hint in inherited.items() if name not in passed}
    return forwarded | hints, required | (needed & forwarded.keys()), is_open


def _fields(module: str, node: ast.ClassDef) -> _Arguments:
    """Return the arguments of the constructor that `@dataclass` generates."""
    hints: dict[str, Hint] = {}
    required: set[str] = set()
    for base in _bases(module, node):
        inherited, needed, _ = _fields(*base)
        hints, required = hints | inherited, required | needed
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and "ClassVar" not in ast.unparse(part.annotation):
            name = ast.unparse(part.target)
            hints[name] = _hint(part.annotation, module)
            required = required | {name} if part.value is None else required - {name}
    return hints, frozenset(required), False


def _hint(annotation: ast.expr | None, module: str) -> Hint:
    return parse(annotation, lambda name: _alias(module, name)) if annotation is not None else ANY


def _alias(module: str, name: str) -> Hint:
    """Resolve a name such as `Precision = Literal[…]`, here or in the module that it is imported from."""
    while _ours(module):
        source = _module(module)
        if name in source.assignments:
            return _hint(source.assignments[name], module)
        if name in source.definitions:
            return _record(module, source.definitions[name])
        if name not in source.imports:
            return ANY
        module, name = source.imports[name]
    return ANY


def _record(module: str, node: ast.ClassDef | _Function) -> Hint:
    """Return a record with the keys of a `TypedDict`; another class allows any value."""
    if not isinstance(node, ast.ClassDef) or "TypedDict" not in map(ast.unparse, node.bases):
        return ANY
    parts = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    return Hint("record", tuple((ast.unparse(part.target), _hint(part.annotation, module)) for part in parts))


def _decorator_arguments(node: _Function) -> dict[str, Any]:
    """Return the literal arguments of decorators: `@needs("a", extra="b")` is `needs: ("a", "b")`."""
    arguments: dict[str, Any] = {}
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                values = (*args, *(keyword.value for keyword in keywords))
                if all(isinstance(value, ast.Constant) for value in values):
                    arguments[name] = tuple(ast.literal_eval(value) for value in values)
    return arguments


def _attributes(module: str, node: ast.ClassDef) -> dict[str, Any]:
    """Return literal class attributes, those of our bases included."""
    attributes: dict[str, Any] = {}
    for base in reversed(_bases(module, node)):
        attributes |= _attributes(*base)
    for part in node.body:
        match part:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        try:
            attributes[name] = ast.literal_eval(value)
        except ValueError:
            attributes.pop(name, None)
    return attributes
