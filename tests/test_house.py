"""The rules of the house: who may import whom, what files may be called, and what is packaged."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lit_mlfund"
# A folder imports only from folders before it. Files beside the folders come before all of them, but for
# `python -m lit_mlfund`, which is the command line.
ORDER = ["losses", "metrics", "models", "optim", "startup", "config", "data", "references", "diagnostics"]
ORDER += ["datamodules", "modules", "callbacks", "reports", "runs", "sweeps", "cli"]
# The same inside a folder; `.` stands for the files that lie in it beside its subfolders.
INNER = {
    "data": ["serving", "parsing", "reading", "preprocessing", "disk", "sources", "."],
    "runs": ["assembly", "evaluation", "execution", "."],
    "sweeps": ["claims", ".", "stacked"],
}
SIDE_BY_SIDE = ({"data/disk", "data/sources"},)  # neither knows of the other
PURE = ("losses", "metrics", "models", "optim", "references", "diagnostics")  # without Lightning or Hydra
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base_utils"}
MOST_FILES = 16  # in a folder, `__init__.py` among them
FILES = sorted(SOURCE.rglob("*.py"))
# Doors from outside, which may open any room: `python -m lit_mlfund`, names of earlier versions, `import lit_mlfund`.
DOORS = [SOURCE / "__main__.py", SOURCE / "runtime.py", SOURCE / "__init__.py"]


def imported_names(file: Path) -> Iterator[tuple[str, bool]]:
    """Every module or `module.name` that a file imports, and whether as soon as it is loaded itself.

    Imports for type checkers alone are left out.
    """
    tree = ast.parse(file.read_text())
    for_checkers = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for part in node.body
        for inner in ast.walk(part)
    }
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    later = {inner for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if node in for_checkers:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node not in later) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from ((f"{node.module}.{alias.name}", node not in later) for alias in node.names)


def file_of(name: str) -> Path | None:
    """The file of ours behind a dotted name, which may end in something that the file defines."""
    parts = name.split(".")
    if parts[0] != "lit_mlfund":
        return None
    for length in range(len(parts), 0, -1):
        stem = SOURCE.joinpath(*parts[1:length])
        for file in (stem / "__init__.py", stem.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def place(file: Path) -> tuple[int, int]:
    """Where a file stands among the folders; imports lead only to files that stand no later."""
    parts = file.relative_to(SOURCE).parts
    if file in DOORS:
        return len(ORDER), 0
    if len(parts) == 1:
        return -1, 0
    inner = INNER.get(parts[0], ["."])
    return ORDER.index(parts[0]), inner.index(parts[1] if len(parts) > 2 else ".")


def folder(file: Path) -> str:
    return file.parent.relative_to(SOURCE).as_posix()


def test_arrows_point_one_way() -> None:
    wrong = []
    for file in FILES:
        for name, _ in imported_names(file):
            other = file_of(name)
            if other is None or other in DOORS:  # of the package itself, its version is asked for
                continue
            if place(other) > place(file) or {folder(file), folder(other)} in SIDE_BY_SIDE:
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_no_circle_between_files() -> None:
    """Neither of imports at the top of files nor with those inside functions."""
    graph = {
        file: {
            other for name, _ in imported_names(file) if (other := file_of(name)) not in (None, file, *DOORS)
        }
        for file in FILES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(str(file.relative_to(SOURCE)) for file in error.args[1]))


def test_folders_are_the_known_ones() -> None:
    folders = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*") if path.is_dir()}
    folders = {path for path in folders if not path.endswith("__pycache__")}
    nested = {f"{outer}/{inner}" for outer, inside in INNER.items() for inner in inside if inner != "."}
    assert folders == {*ORDER, *nested}


def test_a_folder_is_one_concern() -> None:
    sizes = {path: len(list((SOURCE / path).glob("*.py"))) for path in {folder(file) for file in FILES}}
    assert {path: size for path, size in sizes.items() if size > MOST_FILES} == {}


def test_pyproject_packs_every_folder() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {folder(file).replace("/", ".") for file in FILES} - {"."}
    assert sorted(packages) == sorted(
        ["lit_mlfund", "lit_mlfund.conf", *(f"lit_mlfund.{name}" for name in folders)]
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_file_is_one_idea(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert len(lines) <= 300, f"{len(lines)} lines"
    assert file.stem not in FORBIDDEN_NAMES
    assert ast.get_docstring(ast.parse("\n".join(lines))), "a file says in its first line what it is"


@pytest.mark.parametrize("folder", PURE)
def test_usable_without_lightning_and_hydra(folder: str) -> None:
    code = (
        f"import sys, lit_mlfund.{folder}\n"
        "print([name for name in ('lightning', 'hydra', 'omegaconf') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
