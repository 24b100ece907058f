"""The rules of the house: who may import whom, what files may be called, and what is packaged."""

from __future__ import annotations

import ast
import re
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
ORDER = [
    "losses",
    "metrics",
    "models",
    "optim",
    "startup",
    "config",
    "cluster",
    "run_folders",
    "data",
    "references",
    "diagnostics",
]
ORDER += ["datamodules", "modules", "callbacks", "reports", "runs", "sweeps", "cli"]
# The same inside a folder; `.` stands for the files that lie in it beside its subfolders.
INNER = {
    "data": ["serving", "parsing", "reading", "preprocessing", "disk", "sources", "."],
    "diagnostics": ["measures", ".", "decomposition"],
    "modules": ["steps", "."],
    "reports": [".", "comparison"],
    "runs": ["assembly", "planning", "evaluation", "doctor", "execution", "."],
    "sweeps": ["claims", ".", "stacked", "search", "decompose"],
}
SIDE_BY_SIDE = ({"data/disk", "data/sources"},)  # neither knows of the other
PURE = ("losses", "metrics", "models", "optim", "references", "diagnostics")  # without Lightning or Hydra
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base_utils"}
MOST_FILES = 16  # in a folder, `__init__.py` among them
FILES = sorted(SOURCE.rglob("*.py"))
# Doors from outside, which may open any room: `python -m lit_mlfund`, names of earlier versions, `import lit_mlfund`.
DOORS = [SOURCE / "__main__.py", SOURCE / "runtime.py", SOURCE / "__init__.py"]
# First words of phrases rather than sentences. Nouns that may be verbs too, such as `Count` or `Models`, are missing.
NO_VERB = re.compile(
    "a|an|the|and|but|nor|or|so|than|then|also|only|even|just|not|"
    "how|what|whatever|when|where|whether|which|who|whom|whose|why|while|"
    "about|above|across|after|against|along|among|around|as|at|because|before|behind|below|"
    "beside|besides|between|beyond|by|despite|during|except|for|from|if|in|inside|into|"
    "like|near|of|off|on|once|onto|out|outside|over|per|since|through|to|toward|under|"
    "unless|until|up|upon|via|with|within|without|"
    "all|another|any|both|each|either|every|everything|few|many|more|most|much|neither|no|"
    "none|nothing|other|others|same|several|some|such|"
    "he|her|his|i|it|its|my|our|she|that|their|them|there|these|they|this|those|us|we|"
    "you|your|here|now|"
    "am|are|be|been|can|could|did|do|does|had|has|have|is|may|might|must|shall|should|"
    "was|were|will|would|"
    "zero|half|one|two|three|four|five|first|second|third|next|last|latest|"
    "english|constant|expected|linear|large|literal|own|plain|random|raw|short|shuffled|"
    "small|trainable|whole|"
    "arguments|batches|bytes|cells|class|classes|columns|configuration|data|dates|distribution|"
    "embedding|embeddings|error|errors|examples|file|files|flights|folder|folders|function|"
    "functions|gradients|header|id|ids|image|images|inputs|items|keys|learning|libraries|"
    "lightning|likelihood|lines|loss|losses|matrix|mean|means|metric|metrics|module|modules|"
    "norm|norms|numbers|optimizer|optimizers|options|parameter|parameters|path|paths|pixel|"
    "pixels|prediction|predictions|probability|queries|query|ranking|rates|reference|result|"
    "results|row|rows|seconds|signatures|similarities|size|sizes|squares|steps|table|tables|"
    "target|targets|task|tasks|tensor|tensors|text|texts|token|tokens|training|type|types|"
    "users|value|values|vector|vectors|weight|weights|width|windows|words",
    re.IGNORECASE,
)


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
    assert folders == {*ORDER, *nested, "data/sources/files"}  # the last holds no code


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


def first_lines(file: Path) -> Iterator[tuple[str, bool]]:
    """Yield the first line of each docstring in a file, and whether it describes a function."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring.splitlines()[0], not isinstance(node, (ast.Module, ast.ClassDef))


def begins_with_a_verb(line: str, imperative: bool) -> bool:
    """Return whether a line begins like `Return` (imperative) or `Returns` (third person), and ends a sentence."""
    word = re.match(r"[A-Z][a-z]+(?=[ ,])", line)
    if word is None or NO_VERB.fullmatch(word[0]) or not line.endswith((".", ":", "?")):
        return False
    third_person = word[0].endswith("s") and not word[0].endswith("ss")
    return third_person != imperative


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_docstrings_begin_with_a_verb(file: Path) -> None:
    """Modules and classes say what they do, functions and methods what to do, as in PEP 257."""
    assert [line for line, imperative in first_lines(file) if not begins_with_a_verb(line, imperative)] == []


@pytest.mark.parametrize(
    ("line", "imperative"),
    [
        ("The rows of each split.", True),
        ("Rows of each split.", False),
        ("Mean of a batch.", True),
        ("Whether it has ended.", True),
        ("`value`, if it fits.", True),
        ("Returns the rows.", True),
        ("Return the rows.", False),
        ("Return the rows", True),
    ],
)
def test_other_docstrings_are_found(line: str, imperative: bool) -> None:
    assert not begins_with_a_verb(line, imperative)
    assert begins_with_a_verb("Pass the rows.", True) and begins_with_a_verb("Passes the rows.", False)


@pytest.mark.parametrize("folder", PURE)
def test_usable_without_lightning_and_hydra(folder: str) -> None:
    code = (
        f"import sys, lit_mlfund.{folder}\n"
        "print([name for name in ('lightning', 'hydra', 'omegaconf') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
