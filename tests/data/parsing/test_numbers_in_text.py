"""How columns spell numbers: every style against Python's own formatting."""

import polars as pl
import pytest

from lit_mlfund.data.parsing.numbers_in_text import (
    CONTINENTAL,
    ENGLISH,
    PLAIN,
    STYLES,
    NumberEvidence,
    NumberFormat,
)

NUMBERS = [0.0, 1.5, -12.25, 999.75, 1000.0, -1234.5, 1234567.125, 0.942]


def spell(number: float, style: NumberFormat) -> str:
    return f"{number:,.3f}".translate(str.maketrans({",": style.thousands, ".": style.decimal}))


def candidates(cells, decimal=None, thousands=None):
    evidence = NumberEvidence()
    for cell in cells:  # piece by piece
        evidence.add(pl.Series([cell]))
    whole = NumberEvidence()
    whole.add(pl.Series(cells))
    found = evidence.candidates(decimal, thousands)
    assert found == whole.candidates(decimal, thousands)
    return found


@pytest.mark.parametrize("style", STYLES)
def test_styles(style):
    cells = [spell(number, style) for number in NUMBERS]
    assert style.parse(pl.Series(cells)).to_list() == pytest.approx(NUMBERS)
    assert candidates(cells) == [style]
    assert style.unreadable(pl.Series([*cells, "x", "-", None])).to_list() == [False] * 8 + [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["1,399", "2,100"], [ENGLISH, CONTINENTAL]),
        (["1,399", "0,942"], [CONTINENTAL]),
        (["1,399", "1,39"], [CONTINENTAL]),
        (["1,399", "1,399,000"], [ENGLISH]),
        (["1,399", "1500"], [CONTINENTAL]),
        (["1,399"] * 20 + ["950"], [ENGLISH]),
        (["1,399"] * 3 + ["950"], [ENGLISH, CONTINENTAL]),
        (["1", "2.5"], [PLAIN]),
        (["1,2,3"], []),
        (["1,39 ", "a"], []),
        (["12/5"], []),
        (["-", "-"], []),
        (["1,23,456"], []),
    ],
)
def test_what_is_certain(cells, found):
    assert candidates([cell.strip() for cell in cells]) == found


def test_what_is_given():
    assert candidates(["1,399"], decimal=",") == [CONTINENTAL]
    assert candidates(["1,399"], thousands=",", decimal=".") == [ENGLISH]
    assert candidates(["1,5"], thousands=",", decimal=".") == []
