"""Names the tests that lie nearest to a source file, in the order in which they are asked."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

# What holds the joints between the parts of a folder lies in other folders; of the slow system tests, a few.
BEYOND = {
    "callbacks": ["tests/system/test_joints.py", "tests/system/test_tasks.py"],
    "callbacks/event_files": ["tests/system/test_tensorboard.py", "tests/system/test_reporting.py"],
    "cli": ["tests/cli", "tests/system/test_bad_input.py", "tests/system/test_outside.py"],
    "data/disk": ["tests/datamodules/test_cached_table.py"],
    "data/parsing": ["tests/system/test_spelling_of_files.py"],
    "data/preprocessing": ["tests/datamodules"],
    "data/reading": ["tests/datamodules/test_table.py", "tests/system/test_spelling_of_files.py"],
    "data/serving": ["tests/datamodules", "tests/modules/test_lean.py"],
    "diagnostics": ["tests/system/test_own_files.py"],
    "modules": [
        "tests/callbacks/test_resume.py",
        "tests/system/test_joints.py",
        "tests/system/test_tensorboard.py",
    ],
    "references": ["tests/system/test_joints.py"],
    "reports": ["tests/system/test_reporting.py", "tests/system/test_tensorboard.py"],
    "runs": ["tests/system/test_joints.py", "tests/system/test_undefined.py", "tests/system/test_tasks.py"],
    "runs/execution/execute": ["tests/system/test_joints.py"],
    "runs/execution/lr_range_test": ["tests/system/test_lr_find.py"],
    "sweeps": ["tests/system/test_sweeps.py"],
}


class Nearest:
    """Maps source files of a tree to its test files.

    First those named like the file, wherever they lie, and those that `BEYOND` lists for it alone; then those that name
    what only this file defines, many names before few, the mirrored folder before others; then those of `BEYOND`; then
    system tests, which are slow, by names; then the rest of the mirrored folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "src" / "lit_mlfund"
        self.tests = sorted((root / "tests").rglob("test_*.py"))
        self._words = {test: _words(test) for test in self.tests}
        self._defined = {file: _defined(file) for file in self.source.rglob("*.py")}
        self._times = Counter(name for names in self._defined.values() for name in names)

    def __call__(self, file: Path) -> list[str]:
        """Return the test files for a source file, relative to the tree."""
        parts = file.relative_to(self.source).parent.as_posix()
        folder = self.root / "tests" / parts
        own = {name for name in self._defined[file] if self._times[name] == 1}
        shared = {test: len(own & words) for test, words in self._words.items()}

        def distance(test: Path) -> tuple[bool, bool, int]:
            return "system" in test.parts, test.parent != folder, -shared[test]

        named = sorted(
            (test for test in self.tests if test.stem.startswith(f"test_{file.stem}")), key=distance
        )
        near = sorted((test for test in self.tests if shared[test]), key=distance)
        quick = [test for test in near if "system" not in test.parts]
        beside = [test for test in self.tests if test.parent == folder]
        special = self._listed(file.relative_to(self.source).with_suffix("").as_posix())
        beyond = self._listed(parts) + self._listed(parts.split("/")[0])
        found = [*named, *special, *quick, *beyond, *near, *beside]
        return list(dict.fromkeys(test.relative_to(self.root).as_posix() for test in found))

    def _listed(self, key: str) -> list[Path]:
        places = [self.root / name for name in BEYOND.get(key, [])]
        return [test for place in places for test in self.tests if test == place or place in test.parents]


def _words(test: Path) -> set[str]:
    """Return the words of a test file and of the cases beside it that it uses."""
    words = set(re.findall(r"\w+", test.read_text(encoding="utf-8")))
    for other in test.parent.glob("*.py"):
        if not other.stem.startswith("test_") and other.stem in words:
            words |= set(re.findall(r"\w+", other.read_text(encoding="utf-8")))
    return words


def _defined(file: Path) -> set[str]:
    """Return the names of the functions, classes and constants of a file."""
    names = set()
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names
