"""Type hints read from source, and values checked against them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lit_mlfund.config.type_hints import ANY, Hint, TypeMismatch, coerce, parse


def test_every_spelling_of_a_hint_is_the_same_hint() -> None:
    assert (
        parse("int | None")
        == parse("Optional[int]")
        == parse("typing.Union[int, None]")
        == parse("'int | None'")
    )
    assert parse("list[float]") == parse("Sequence[float]") == parse("tuple[float, ...]")
    assert parse("dict[str, int]") == parse("Mapping[str, int]")
    assert parse("Literal['a', 'b']") == parse("t.Literal['a', 'b']") == Hint("literal", ("a", "b"))
    assert parse("int | str | None | int") == Hint("union", (Hint("int"), Hint("str"), Hint("none")))


@pytest.mark.parametrize(
    "unknown", ["Tensor", "torch.nn.Module", "int | Tensor", "Callable[[int], str]", "not python"]
)
def test_unknown_hints_allow_everything(unknown: str) -> None:
    assert parse(unknown) == ANY
    assert coerce(object, parse(unknown)) is object


def test_names_are_looked_up() -> None:
    assert parse("Precision | None", {"Precision": Hint("int")}.get) == parse("int | None")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hint", "value", "coerced"),
    [
        ("float", 1, 1.0),
        ("float", "1e-3", 1e-3),  # an environment variable, or quoted
        ("float", "-inf", -math.inf),
        ("int", 1e4, 10_000),
        ("int", "12", 12),
        ("int", "12345678901234567890", 12345678901234567890),
        ("bool", "False", False),
        ("str", 3, "3"),  # a column without a name
        ("str", "null", "null"),
        ("str | None", None, None),
        ("int | float", 1, 1),  # one batch is not all of them
        ("int | float", 1.0, 1.0),
        ("float | int", 1, 1),
        ("int | str", "auto", "auto"),
        ("int | None", "3", 3),
        ("Literal['32', 'bf16']", 32, "32"),
        ("Literal[1, 2]", 2, 2),
        ("list[int]", [1, "2"], [1, 2]),
        ("tuple[float, float]", [0.9, 1], [0.9, 1.0]),
        ("dict[str, float]", {"a": 1}, {"a": 1.0}),
        ("list[str] | None", ["a"], ["a"]),
        ("float", "???", "???"),
        ("float", {"_target_": "x.Y"}, {"_target_": "x.Y"}),
    ],
)
def test_matching_values_are_coerced(hint: str, value: Any, coerced: Any) -> None:
    result = coerce(value, parse(hint))
    assert result == coerced
    assert type(result) is type(coerced)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        ("float", "high", "expected float, got high (text)"),
        ("float", None, "expected float, got null"),
        ("float", True, "expected float, got true"),
        ("int", 1.5, "expected int, got 1.5"),
        ("int", True, "expected int, got true"),
        ("int", "nan", "expected int, got nan (text)"),
        ("int", "inf", "expected int, got inf (text)"),
        ("bool", 1, "expected true or false, got 1"),
        ("str", None, "expected text, got null"),
        ("str", True, "expected text, got true"),
        ("str", ["a"], "expected text, got ['a']"),
        ("int | None", "x", "expected int or null, got x (text)"),
        ("Literal['relu', 'gelu']", "rleu", "expected one of relu, gelu, got rleu; did you mean relu?"),
        ("Literal['a']", 1, "expected a, got 1"),
        ("list[int]", 3, "expected list of int, got 3"),
        ("list[int]", ["x"], "expected int, got x (text)"),
        ("tuple[float, float]", [0.9], "expected list of 2: float, float, got [0.9]"),
        ("dict[str, float]", 3, "expected mapping, got 3"),
    ],
)
def test_mismatches(hint: str, value: Any, message: str) -> None:
    with pytest.raises(TypeMismatch) as mismatch:
        coerce(value, parse(hint))
    assert str(mismatch.value) == message
