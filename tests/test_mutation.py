"""The changes that `scripts/mutate.py` makes to the source, and the tests that it asks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mutation", "mutate")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("line", "others"),
    [
        ("a < b", {"a <= b", "a > b"}),
        ("a is None", {"a is not None"}),
        ("a and b", {"a or b", "a", "b"}),
        ("not a", {"a"}),
        ("a if b else c", {"a if not b else c"}),
        ("a + 1", {"a - 1", "a + 2", "a + 0"}),
        ("a[:k]", {"a[:]"}),
        ("max(a, b)", {"min(a, b)"}),
        ("sorted(a, key=f)", {"list(a)", "sorted(a)"}),
        ("f(a, b, k=c)", {"f(b, a, k=c)", "f(a, b)"}),
        ("a.detach()", {"a"}),
        ("torch.no_grad()", {"torch.enable_grad()"}),
        ("f(True)", {"f(False)"}),
        ("f(0.5)", {"f(0.75)"}),
        ("f'{a + 1}'", set()),  # texts are left alone
        ("print(a + 1)", set()),
        ("isinstance(a, b)", set()),
        ("folder / name", set()),
    ],
)
def test_changes_of_an_expression(line: str, others: set[str]) -> None:
    from mutation.changes import changes

    source = f"x = {line}\n".encode()
    assert {change.apply(source).decode() for change in changes(source)} == {
        f"x = {other}\n" for other in others
    }


def test_changes_of_statements() -> None:
    from mutation.changes import changes

    source = b'''def f(a: int = 3) -> "Literal[1]":
    """Text of 1 or 2."""
    if a > 2:
        raise ValueError(f"{a} > {2 + 1}")
    g(a)
    return a
'''
    found = {
        (change.line, change.kind, change.after) for change in changes(source) if change.kind != "comparison"
    }
    assert found == {
        (1, "constant", "4"),
        (1, "constant", "2"),
        (3, "negated condition", found_condition(source)),
        (3, "constant", "3"),
        (3, "constant", "1"),
        (4, "dropped statement", "pass"),
        (5, "dropped statement", "pass"),
        (6, "early return", "return None"),
    }


def found_condition(source: bytes) -> str:
    return "if not a > 2:\n    raise ValueError(f'{a} > {2 + 1}')"


def test_a_sample_is_spread_over_the_tree_and_the_same_again() -> None:
    import mutate

    drawn = mutate.sample(ROOT, "metrics", 40, seed=1)
    assert drawn == mutate.sample(ROOT, "metrics", 40, seed=1) != mutate.sample(ROOT, "metrics", 40, seed=2)
    assert len(set(drawn)) == 40
    files = sorted((ROOT / mutate.SOURCE / "metrics").glob("*.py"))
    lines = {file.name: len(file.read_bytes().splitlines()) for file in files}
    for name, size in lines.items():
        times = sum(Path(file).name == name for file, _ in drawn)
        assert (
            times >= int(40 * size / sum(lines.values())) or name == "__init__.py"
        )  # which has nothing to change
    for name, change in drawn:
        compile(change.apply((ROOT / name).read_bytes()), name, "exec")


@pytest.mark.parametrize(
    ("file", "first"),
    [
        ("metrics/calibration.py", "tests/metrics/test_calibration.py"),
        ("runs/execution/execute.py", "tests/system/test_joints.py"),
        ("losses/regression.py", "tests/losses/test_pointwise_arguments.py"),  # defines it under another name
    ],
)
def test_the_nearest_tests(file: str, first: str) -> None:
    from mutation.nearest import BEYOND, Nearest

    nearest = Nearest(ROOT)(ROOT / "src" / "lit_mlfund" / file)
    assert nearest[0] == first or first in nearest[:2]
    assert all((ROOT / test).is_file() for test in nearest)
    assert all((ROOT / place).exists() for places in BEYOND.values() for place in places)


def test_equivalent_changes_still_exist() -> None:
    """Each entry names a change that can be made, and why it changes nothing."""
    import tomllib

    import mutate
    from mutation.changes import changes

    for entry in tomllib.loads(mutate.EQUIVALENT.read_text(encoding="utf-8")).get("change", []):
        source = (ROOT / entry["file"]).read_bytes()
        assert len(entry["reason"]) > 20
        assert any(
            (change.before, change.after) == (entry["before"], entry["after"]) for change in changes(source)
        )
