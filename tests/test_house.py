"""The rules of the house: who may import whom, what files may be called, and what is packaged."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lit_mlfund"
# A folder imports only from folders before it. Files beside the folders come before all of them, but for
# `python -m lit_mlfund`, which is the command line.
ORDER = ["losses", "metrics", "models", "optim", "data", "datamodules", "modules", "diagnostics"]
ORDER += ["callbacks", "reports", "runtime", "cli"]
PURE = ("losses", "metrics", "models", "optim", "diagnostics")  # for users without Lightning or Hydra
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base_utils"}
FILES = sorted(SOURCE.rglob("*.py"))
ENTRY = SOURCE / "__main__.py"


def imports(file: Path) -> Iterator[str]:
    """Modules of ours that a file imports, wherever in it; not those for type checkers alone."""
    tree = ast.parse(file.read_text())
    for_checkers = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if node in for_checkers:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(file: Path) -> str | None:
    if file == ENTRY:
        return ORDER[-1]
    parts = file.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else None


def test_arrows_point_one_way() -> None:
    wrong = []
    for file in FILES:
        here = folder_of(file)
        for name in imports(file):
            first, *rest = name.split(".")
            if first != "lit_mlfund" or not rest or rest[0] not in ORDER or rest[0] == here:
                continue
            if here is None or ORDER.index(rest[0]) > ORDER.index(here):
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_folders_are_the_known_ones() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ORDER)
    nested = [file for file in FILES if len(file.relative_to(SOURCE).parts) > 2]
    assert nested == []


def test_pyproject_packs_every_folder() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert packages == ["lit_mlfund", "lit_mlfund.conf", *(f"lit_mlfund.{folder}" for folder in ORDER)]


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
