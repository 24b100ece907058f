"""Extracts functions and docstrings of Python's standard library: real (query, document) pairs, no download."""

from __future__ import annotations

import ast
import functools
import gc
import inspect
import os
import sysconfig
from collections.abc import Iterator
from typing import NamedTuple

from lit_mlfund.data.preprocessing.tokenize import split_words
from lit_mlfund.data.reading.errors import DataError

# Tests and demonstrations are repetitive; data tables have no functions.
_SKIPPED = {
    "test", "tests", "idle_test", "idlelib", "lib2to3", "turtledemo", "ensurepip", "encodings", "pydoc_data",
    "site-packages", "dist-packages", "__pycache__",
}  # fmt: skip
_MIN_DOCSTRING_WORDS = 3
_MIN_CODE_WORDS = 5


class Function(NamedTuple):
    """Holds a function or method (`Class.method`), its docstring, and its code with the docstring cut out."""

    file: str
    line: int
    name: str
    docstring: str
    code: str

    @property
    def summary(self) -> str:
        """Return the docstring's first paragraph on one line."""
        return " ".join(self.docstring.partition("\n\n")[0].split())


@functools.cache  # a sweep in one process reads the sources once
def standard_library(root: str | None = None) -> tuple[Function, ...]:
    """Return the documented functions and methods under `root` (default: the interpreter's standard library).

    Of functions with equal code or equal docstring only the first is included; those with fewer than 3 words of
    docstring or 5 of code are left out. They are ordered by the names of their files.
    """
    root = root or sysconfig.get_path("stdlib")
    collecting = gc.isenabled()
    gc.disable()  # syntax trees are many small objects without cycles: looking for cycles doubles the time
    try:
        candidates = [function for file in _sources(root) for function in _functions(root, file)]
    finally:
        if collecting:
            gc.enable()
    words = split_words([text for function in candidates for text in (function.summary, function.code)])
    counts = [0] * (2 * len(candidates))
    for text in words.text.tolist():
        counts[text] += 1
    functions: dict[str, Function] = {}
    docstrings: set[str] = set()
    for function, size, code_size in zip(candidates, counts[::2], counts[1::2]):
        if size < _MIN_DOCSTRING_WORDS or code_size < _MIN_CODE_WORDS:
            continue
        if function.code not in functions and function.summary not in docstrings:
            functions[function.code] = function
            docstrings.add(function.summary)
    if not functions:
        raise DataError(f"{root}: no documented functions; is this Python installed without its sources?")
    return tuple(functions.values())


def _sources(root: str) -> Iterator[str]:
    """Yield the sorted paths of the source files relative to `root`, with `/`."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")


def _functions(root: str, file: str) -> Iterator[Function]:
    try:
        with open(os.path.join(root, file), "rb") as stream:
            source = stream.read()
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError):  # unreadable, or a template that is not Python yet
        return
    lines = source.splitlines(keepends=True)
    for name, node in _definitions(tree.body):
        first = node.body[0]
        if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
            continue
        docstring = first.value.value
        if not isinstance(docstring, str):
            continue
        assert first.end_lineno is not None  # parsed, not built by hand
        code = [  # column offsets of the syntax tree count bytes
            *lines[node.lineno - 1 : first.lineno - 1],
            lines[first.lineno - 1][: first.col_offset].rstrip(b" \t"),
            lines[first.end_lineno - 1][first.end_col_offset :].lstrip(b" \t;\r\n"),
            *lines[first.end_lineno : node.end_lineno],
        ]
        text = b"".join(code).decode("utf-8", "replace")
        yield Function(file, node.lineno, name, inspect.cleandoc(docstring), text)


def _definitions(
    body: list[ast.stmt], prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield functions and methods, but not those inside other functions, which are part of the outer one's code."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try):
            handlers = [handler.body for handler in getattr(node, "handlers", [])]
            for block in (node.body, *handlers, node.orelse):
                yield from _definitions(block, prefix)
