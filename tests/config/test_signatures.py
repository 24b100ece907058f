"""Signatures read from source, compared with Python's own view of the imported classes."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.options import node_of
from lit_mlfund.config.signatures import describe
from lit_mlfund.config.source_signatures import TargetError, read
from lit_mlfund.config.type_hints import Hint, parse


def shipped_targets() -> list[str]:
    """Every target that our own configuration files name."""
    known, targets = catalog(), set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            if str(value.get("_target_", "")).startswith("lit_mlfund."):
                targets.add(value["_target_"])
            for part in value.values():
                collect(part)

    for group, files in known.groups.items():
        for name in files:
            collect(node_of(known, group, name))
    return sorted(targets)


@pytest.mark.parametrize("path", shipped_targets())
def test_source_and_import_agree(path: str) -> None:
    target = read(path)
    module, _, name = path.rpartition(".")
    imported = getattr(importlib.import_module(module), name)
    parameters = {
        key: parameter
        for key, parameter in inspect.signature(imported).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    assert set(parameters) <= set(target.parameters)
    assert not target.open, "a configurable target takes no **kwargs of its own"
    if len(parameters) == len(target.parameters):
        needed = {key for key, parameter in parameters.items() if parameter.default is parameter.empty}
        assert target.required == needed
    for key in ("tasks", "inputs", "metrics"):
        if getattr(imported, key, None) is not None and not isinstance(getattr(imported, key), property):
            assert target.attributes.get(key) == getattr(imported, key), f"{key} is no plain literal"


def test_follows_re_exports_bases_and_aliases(house: Path) -> None:
    huber = read("lit_mlfund.losses.Huber")
    assert huber.parameters == {"delta": Hint("float")}
    assert huber.attributes["tasks"] == ("regression",)  # of its base
    assert read("lit_mlfund.losses.MSE").parameters == {}  # nn.Module's own constructor takes nothing
    assert read("lit_mlfund.losses.LambdaRank").attributes["tasks"] == ("ranking",)  # annotated
    mlp = read("lit_mlfund.models.MLP")
    assert mlp.parameters["activation"] == Hint("literal", ("relu", "gelu"))
    assert mlp.required == {"spec"}
    part = read("lit_mlfund.losses.Composite").parameters["parts"].parts[0]
    assert part == Hint("record", (("loss", Hint("any")), ("weight", Hint("float"))))


def test_keywords_handed_to_a_base_are_its_own(house: Path) -> None:
    table = read("lit_mlfund.datamodules.Table")
    assert table.parameters.keys() == {"path", "target", "time", "batch_size", "seed"}
    assert table.required == {"path", "batch_size", "seed"}
    assert not table.open
    regression = read("lit_mlfund.modules.RegressionModule")
    assert regression.parameters["standardize"] == Hint("bool")
    assert regression.parameters["monitor"] == Hint("str")


def test_a_default_of_none_allows_null(house: Path) -> None:
    (house.parent / "lit_mlfund" / "loose.py").write_text(
        "def f(a: float = None, *, b: int = None, c: int = 0): ..."
    )
    assert read("lit_mlfund.loose.f").parameters == {
        "a": parse("float | None"),
        "b": parse("int | None"),
        "c": Hint("int"),
    }


def test_dataclasses(house: Path) -> None:
    (house.parent / "lit_mlfund" / "settings.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "@dataclass\nclass A:\n    x: int\n    kind: ClassVar[str] = 'a'\n"
        "@dataclass(frozen=True)\nclass B(A):\n    y: float = 0.5\n"
    )
    target = read("lit_mlfund.settings.B")
    assert target.parameters == {"x": Hint("int"), "y": Hint("float")}
    assert target.required == {"x"}
    assert target.attributes["kind"] == "a"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("lit_mlfund.losses.BCF", "there is no BCF in lit_mlfund.losses; did you mean BCE?"),
        ("lit_mlfund.lossess.BCE", "there is no module lit_mlfund.lossess"),
        ("not a path", "'not a path' is not the dotted path of a class or function"),
        ("json", "'json' is not the dotted path of a class or function"),
        ("jsom.decoder.JSONDecoder", "cannot import jsom.decoder.JSONDecoder: No module named 'jsom'"),
        ("json.decoder.JSONDecodr", "there is no JSONDecodr in json.decoder; did you mean JSONDecoder?"),
        ("json.decoder.nothing.X", "there is no nothing in json.decoder; known:"),
        ("json.decoder.NaN", "json.decoder.NaN is not a class or function"),
    ],
)
def test_targets_that_lead_nowhere(house: Path, path: str, message: str) -> None:
    with pytest.raises(TargetError, match=r"^" + message.replace("(", r"\(").replace("?", r"\?")):
        describe(path)


def test_foreign_targets_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_signatures.py").write_text(
        "from typing import Optional\n"
        "class Loss:\n    tasks = ('binary',)\n"
        "    def __init__(self, delta: Optional[float] = 1.0, *, name: 'str', scale: float = None): ...\n"
        "class Broken:\n    class Inner:\n        def __init__(self, **kwargs): ...\n"
    )
    (tmp_path / "mine_broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    target = describe("mine_signatures.Loss")
    assert target.parameters == {
        "delta": parse("float | None"),
        "name": Hint("str"),
        "scale": parse("float | None"),  # a default says so, whatever the hint says
    }
    assert target.required == {"name"}
    assert target.attributes == {"tasks": ("binary",)}
    assert describe("mine_signatures.Broken.Inner").open
    with pytest.raises(
        TargetError, match=r"cannot import mine_broken.X: ZeroDivisionError: division by zero"
    ):
        describe("mine_broken.X")


def test_reading_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom lit_mlfund.config.signatures import describe\n"
        f"for path in {shipped_targets()}: describe(path)\n"
        "print([name for name in ('torch', 'lightning', 'hydra', 'numpy', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
