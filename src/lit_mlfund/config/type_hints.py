"""Represents type hints as data: parsed from source, printed in messages, and checked against values from YAML.

Nothing is imported or evaluated, so that a typo in a configuration is found without loading torch.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lit_mlfund.config.errors import closest

MISSING = "???"  # OmegaConf's marker for a value that the user must set
UNRESOLVED = object()  # replaces an interpolation that led nowhere, which has been reported already


@dataclass(frozen=True)
class Hint:
    """Represents one type hint: a kind and its parts (members of a union or literal, the element of a list, …).

    kind: any, int, float, bool, str, none, literal, union, list, tuple (fixed length), dict, or record (a
    TypedDict, whose parts are pairs of a name and a hint).
    """

    kind: str
    parts: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.kind == "literal":
            return (
                "one of " + ", ".join(map(show, self.parts)) if len(self.parts) > 1 else show(self.parts[0])
            )
        if self.kind == "union":
            return " or ".join(map(str, self.parts))
        if self.kind == "list" and self.parts[0] != ANY:
            return f"list of {self.parts[0]}"
        if self.kind == "tuple":
            return f"list of {len(self.parts)}: {', '.join(map(str, self.parts))}"
        return _WORDS.get(self.kind, self.kind)


ANY = Hint("any")
NONE = Hint("none")
_WORDS = {"none": "null", "bool": "true or false", "str": "text", "any": "anything"}
_WORDS |= dict.fromkeys(("dict", "record"), "mapping")
IN_MEMORY = Hint("object")  # what Python callers may pass and no YAML file can hold
_SIMPLE = {name: Hint(name) for name in ("int", "float", "bool", "str")} | {"Path": Hint("str"), "None": NONE}
_SIMPLE["Frame"] = IN_MEMORY  # a data frame, see data/reading/frames.py
_LISTS = {"list", "List", "Sequence", "Iterable", "Collection", "set", "frozenset", "MutableSequence"}
_DICTS = {"dict", "Dict", "Mapping", "MutableMapping"}


LONGEST = 200  # characters of a value in a message


class TypeMismatch(ValueError):
    """Reports a value that its hint does not allow; the message continues the name of the key."""


def parse(node: ast.expr | str | None, resolve: Callable[[str], Hint] = lambda name: ANY) -> Hint:
    """Parse the hint in `node`; names that are no builtin type are looked up with `resolve`."""
    if isinstance(node, str):
        try:
            node = ast.parse(node, mode="eval").body
        except SyntaxError:
            return ANY
    match node:
        case ast.Constant(value=None):
            return NONE
        case ast.Constant(value=str() as text):
            return parse(text, resolve)
        case ast.Name(id=name):
            if name in _LISTS | {"tuple", "Tuple"}:
                return Hint("list", (ANY,))
            if name in _DICTS:
                return Hint("dict", (ANY,))
            return _SIMPLE.get(name) or resolve(name)
        case ast.Attribute(attr=name):
            return parse(ast.Name(id=name), lambda name: ANY)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([parse(left, resolve), parse(right, resolve)])
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            return _generic(name, inner.elts if isinstance(inner, ast.Tuple) else [inner], resolve)
    return ANY


def _generic(name: str, inner: list[ast.expr], resolve: Callable[[str], Hint]) -> Hint:
    if name == "Literal":
        try:
            return Hint("literal", tuple(ast.literal_eval(part) for part in inner))
        except ValueError:
            return ANY
    parts = [parse(part, resolve) for part in inner]
    if name == "Union":
        return _union(parts)
    if name == "Optional":
        return optional(parts[0])
    if name in ("Annotated", "ClassVar", "Final"):
        return parts[0]
    if name in _LISTS:
        return Hint("list", (parts[0],))
    if name in ("tuple", "Tuple"):
        variadic = len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is ...
        return Hint("list", (parts[0],)) if variadic else Hint("tuple", tuple(parts))
    if name in _DICTS:
        return Hint("dict", (parts[-1],))
    return ANY


def _union(parts: list[Hint]) -> Hint:
    flat = [inner for part in parts for inner in members(part) if inner != IN_MEMORY]
    return ANY if ANY in flat else Hint("union", tuple(dict.fromkeys(flat)))


def members(hint: Hint) -> tuple[Hint, ...]:
    """Return the members of a union, or the hint alone."""
    return hint.parts if hint.kind == "union" else (hint,)


def optional(hint: Hint) -> Hint:
    """Return a hint that allows null beside `hint`."""
    return _union([hint, NONE])


def show(value: Any) -> str:
    """Format a value as a person would write it in YAML, shortened where it is long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = (value or "''") if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def coerce(value: Any, hint: Hint) -> Any:
    """Convert `value` to the type of `hint`; text that is a number becomes one where only a number is allowed.

    Environment variables (`${oc.env:LR}`) and quoted values arrive as text. Mappings with a `_target_` and missing
    values match every hint: they are checked elsewhere.

    Raises TypeMismatch.
    """
    for strict in (True, False):
        try:
            return _coerce(value, hint, strict)
        except TypeMismatch as error:
            if not strict:
                raise error from None
    raise AssertionError


def _coerce(value: Any, hint: Hint, strict: bool) -> Any:
    if hint.kind == "any" or value is UNRESOLVED or value == MISSING:
        return value
    if isinstance(value, dict) and "_target_" in value:
        return value
    match hint.kind:
        case "union":
            return _coerce_union(value, hint, strict)
        case "literal":
            return _coerce_literal(value, hint, strict)
        case "none" if value is None:
            return None
        case "list" | "tuple" if isinstance(value, (list, tuple)):
            if hint.kind == "tuple" and len(value) != len(hint.parts):
                raise _mismatch(value, hint)
            parts = hint.parts if hint.kind == "tuple" else hint.parts * len(value)
            return [_coerce(element, part, strict) for element, part in zip(value, parts)]
        case "dict" if isinstance(value, dict):
            return {key: _coerce(element, hint.parts[0], strict) for key, element in value.items()}
        case "record" if isinstance(value, dict):
            return value  # its keys are checked one by one, with their paths
        case "bool" if isinstance(value, bool):
            return value
        case "int" | "float" | "str" if not isinstance(value, bool):
            return _coerce_scalar(value, hint, strict)
        case "bool" if not strict and str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
    raise _mismatch(value, hint)


def _coerce_scalar(value: Any, hint: Hint, strict: bool) -> Any:
    number = isinstance(value, (int, float))
    if hint.kind == "str":
        if isinstance(value, str) or (not strict and isinstance(value, int)):
            return str(value)
    elif hint.kind == "float" and number:
        return float(value)
    elif hint.kind == "int" and isinstance(value, int):
        return value
    elif not strict and (number or isinstance(value, str)):
        try:
            parsed = float(value)
        except ValueError:
            raise _mismatch(value, hint) from None
        if hint.kind == "float":
            return parsed
        if parsed.is_integer():
            return int(value) if isinstance(value, str) and value.lstrip("+-").isdigit() else int(parsed)
    raise _mismatch(value, hint)


def _coerce_literal(value: Any, hint: Hint, strict: bool) -> Any:
    for choice in hint.parts:
        if value == choice and type(value) is type(choice):
            return choice
        if not strict and isinstance(choice, str) and show(value) == choice:
            return choice  # trainer.precision=32 is parsed as a number and meant as text
    raise _mismatch(value, hint)


def _coerce_union(value: Any, hint: Hint, strict: bool) -> Any:
    if Hint(type(value).__name__) in hint.parts:
        return value  # 1 stays 1 for `float | int`: one batch is not all batches
    for part in hint.parts:
        try:
            return _coerce(value, part, strict)
        except TypeMismatch:
            continue
    raise _mismatch(value, hint)


def _mismatch(value: Any, hint: Hint) -> TypeMismatch:
    kind = " (text)" if isinstance(value, str) and hint.kind in ("int", "float", "bool", "union") else ""
    words = [part for part in (hint.parts if hint.kind == "literal" else ()) if isinstance(part, str)]
    near = closest(value, words) if isinstance(value, str) else None
    return TypeMismatch(
        f"expected {hint}, got {show(value)}{kind}" + (f"; did you mean {near}?" if near else "")
    )
