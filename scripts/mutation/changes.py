"""Finds small wrong changes to a Python file by its syntax tree.

Left alone are texts, annotations, what an error or a log line says, and what only the eye sees (the width of a
line in a picture). What is changed can be wrong without a word: a comparison, a bound, an argument that is not passed
on.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

Node = TypeVar("Node", bound=ast.AST)
COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
RENAMED = {  # another function of the same arguments
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "sorted": "list",
    "reversed": "list",
    "argmin": "argmax",
    "argmax": "argmin",
    "minimum": "maximum",
    "maximum": "minimum",
    "floor": "ceil",
    "ceil": "floor",
    "mean": "sum",
    "no_grad": "enable_grad",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
    "head": "tail",
    "tail": "head",
}
DROPPED_METHODS = {
    "detach",
    "clone",
    "copy",
    "clamp",
    "clip",
    "abs",
    "strip",
    "lower",
    "unique",
    "sort",
    "clamp_min",
}
DROPPED_FUNCTIONS = {"abs", "round", "float", "nan_to_num", "deepcopy"}  # f(x) becomes x
SYMMETRIC = {"min", "max", "isclose", "allclose", "minimum", "maximum", "gcd", "equal", "zip", "array_equal"}
CHECKS = {
    "isinstance",
    "issubclass",
    "hasattr",
    "getattr",
    "setattr",
    "cast",
    "range",
}  # swapped, they only crash
MESSAGES = {
    "print",
    "warn",
    "warning",
    "info",
    "debug",
    "getLogger",
    "ConfigError",
    "DataError",
    "Finding",
    "Fix",
}
COSMETIC = {
    "alpha", "bbox_inches", "color", "compress_level", "dpi", "ec", "edgecolor", "ensure_ascii", "fc", "figsize",
    "flush", "fontsize", "frameon", "ha", "indent", "label", "labelpad", "linestyle", "linewidth", "linewidths", "loc",
    "lw", "marker", "markersize", "maxsize", "pad", "rotation", "stacklevel", "strict", "title", "va", "width",
    "xytext", "zorder",
}  # fmt: skip
SHOWN = {"__repr__", "extra_repr", "__dir__"}  # functions that only people call


@dataclass(frozen=True)
class Change:
    """Replaces the bytes from `start` to `end` of a file by `after`."""

    line: int
    kind: str
    before: str
    after: str
    start: int
    end: int

    def apply(self, source: bytes) -> bytes:
        """Return the changed file."""
        return source[: self.start] + self.after.encode() + source[self.end :]

    def compiles(self, source: bytes) -> bool:
        """Return whether the changed file is Python."""
        try:
            compile(self.apply(source), "changed", "exec")
        except (SyntaxError, ValueError):
            return False
        return True

    def text(self) -> str:
        """Return the change in one line."""
        return f"{_short(self.before)}  ->  {_short(self.after)}"


def changes(source: bytes) -> list[Change]:
    """Return the changes that can be made to a file; a few may not compile."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, kind, after in _walk(ast.parse(source)):
        start, end = (
            starts[node.lineno - 1] + node.col_offset,
            starts[node.end_lineno - 1] + node.end_col_offset,
        )
        change = Change(node.lineno, kind, source[start:end].decode(), after, start, end)
        if change.before != after:
            found.append(change)
    return found


def _walk(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    if isinstance(node, (ast.expr, ast.stmt)):
        for kind, after in _replacements(node):
            yield node, kind, ast.unparse(ast.fix_missing_locations(after))
    for child in _inside(node):
        yield from _walk(child)


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a node in which changes are of interest."""
    if isinstance(node, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom, ast.Assert)):
        return
    if isinstance(node, ast.If) and (
        "TYPE_CHECKING" in ast.unparse(node.test) or "__name__" in ast.unparse(node.test)
    ):
        return
    if isinstance(node, ast.Call) and _name(node) in MESSAGES:
        return
    if isinstance(node, ast.FunctionDef) and node.name in SHOWN:
        return
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if field == "decorator_list" and "no_grad" not in ast.unparse(child):
                continue  # `frozen=True`, a cache
            if isinstance(child, ast.keyword) and child.arg in COSMETIC:
                continue
            if isinstance(child, ast.AST):
                yield child


def _replacements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for operator in COMPARED[type(node.ops[0])]:
            yield "comparison", _with(node, ops=[operator()])
    elif isinstance(node, ast.BoolOp):
        yield "and/or", _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for index in range(len(node.values)):
            rest = [value for place, value in enumerate(node.values) if place != index]
            yield "dropped condition", _with(node, values=rest) if len(rest) > 1 else rest[0]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        if not isinstance(node.operand, ast.Constant):
            yield "negation", node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED and not _text_or_path(node):
        yield "arithmetic", _with(node, op=COMPUTED[type(node.op)]())
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)) and "TYPE_CHECKING" not in ast.unparse(node.test):
        yield "negated condition", _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Slice) and (node.lower or node.upper) and not node.step:
        yield "slice", ast.Slice(None, None, None)
    elif isinstance(node, (ast.Raise, ast.Continue, ast.Break, ast.AugAssign)) or _is_call(node):
        yield "dropped statement", ast.Pass()
    elif isinstance(node, ast.Return) and node.value and not isinstance(node.value, ast.Constant):
        yield "early return", ast.Return(ast.Constant(None))


def _is_call(node: ast.AST) -> bool:
    """Return whether a statement is nothing but a call with an effect."""
    return (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _name(node.value) not in MESSAGES
    )


def _constants(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    value = node.value
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int) and abs(value) <= 64:
        yield "constant", ast.Constant(value + 1)
        if value:
            yield "constant", ast.Constant(value - 1)
    elif isinstance(value, float) and 1e-4 <= abs(value) <= 1e4:
        yield "constant", ast.Constant(value * 1.5)
    elif value == 0.0 and isinstance(value, float):
        yield "constant", ast.Constant(1.0)


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    name, owner = _name(node), node.func
    if name in MESSAGES:
        return
    if name in RENAMED:
        other = RENAMED[name]
        renamed = ast.Name(other) if isinstance(owner, ast.Name) else _with(owner, attr=other)
        keywords = [part for part in node.keywords if other != "list" or part.arg is None]
        yield "function", _with(node, func=renamed, keywords=keywords)
    if isinstance(owner, ast.Attribute) and name in DROPPED_METHODS:
        yield "dropped call", owner.value
    if isinstance(owner, ast.Name) and name in DROPPED_FUNCTIONS and node.args:
        yield "dropped call", node.args[0]
    plain = not any(isinstance(part, ast.Starred) for part in node.args)
    if len(node.args) >= 2 and plain and name not in SYMMETRIC | CHECKS:
        yield "swapped arguments", _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
    for part in node.keywords:
        if part.arg is not None and part.arg not in COSMETIC:
            yield (
                "dropped keyword",
                _with(node, keywords=[other for other in node.keywords if other is not part]),
            )


def _with(node: Node, **fields: object) -> Node:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _name(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _text_or_path(node: ast.BinOp) -> bool:
    """Return whether an operator joins texts, lists, paths or types: with another one it would only crash."""
    if isinstance(node.op, ast.BitOr) and any(
        isinstance(side, ast.Constant) for side in (node.left, node.right)
    ):
        return True
    for side in (node.left, node.right):
        if isinstance(side, (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp, ast.Dict, ast.DictComp)):
            return True
        if isinstance(side, ast.Constant) and isinstance(side.value, (str, bytes)):
            return True
        if isinstance(side, ast.BinOp) and _text_or_path(side):
            return True
    words = ast.unparse(node.left).lower()
    return isinstance(node.op, ast.Div) and any(
        word in words for word in ("path", "folder", "dir", "file", "root")
    )


def _short(text: str, most: int = 110) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 25]} … {line[-20:]}"
