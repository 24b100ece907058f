"""Numbers in tables: aligned, and within any width."""

from __future__ import annotations

import pytest

from lit_mlfund.reports.tables import cells, clip, fitting_table, format_table, number


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.69234, "0.6923"), (12345.6, "12,346"), (0.0, "0"), (None, "–"), (float("nan"), "–"), (1e-5, "1e-05")],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


def test_columns_are_aligned() -> None:
    lines = format_table(["name", "x"], [["a", "10"], ["longer", "2"]]).splitlines()
    assert lines == ["name     x", "─" * 10, "a       10", "longer   2"]


def test_wide_characters_are_aligned() -> None:
    lines = format_table(["名前", "x"], [["a", "10"], ["e\u0301", "2"]]).splitlines()
    assert lines == ["名前   x", "─" * 8, "a     10", "e\u0301      2"]


HEADER = ["metric", "this model", "95 % interval", "constant", "gradient boosting"]
ROWS = [["average_precision", "0.921", "0.8318 … 0.9812", "0.5167", "0.9688"]]


def test_a_table_that_fits_is_left_as_it_is() -> None:
    assert fitting_table(HEADER, ROWS, None) == fitting_table(HEADER, ROWS, 100) == format_table(HEADER, ROWS)


def test_headers_are_broken_before_a_column_goes() -> None:
    assert fitting_table(HEADER, ROWS, 65).splitlines() == [
        "                    this             95 %            gradient",
        "metric             model         interval  constant  boosting",
        "─" * 61,
        "average_precision  0.921  0.8318 … 0.9812    0.5167    0.9688",
    ]


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (60, ["average_precision       0.921  0.8318 … 0.9812    0.5167", "+1 in metrics.json"]),
        (45, ["average_precision  0.921  0.8318 … 0.9812", "+2 in metrics.json"]),
        (30, ["average_precision       0.921", "+3 in metrics.json"]),
        (20, ["average_prec…  0.921", "+3 in metrics.json"]),
    ],
)
def test_columns_go_from_the_right_and_are_counted(width: int, told: list[str]) -> None:
    lines = fitting_table(HEADER, ROWS, width, "in metrics.json").splitlines()
    assert lines[-2:] == told
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", range(6, 80))
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    rows = [*ROWS, ["名" * 20, "1,234,567", "–", "–", "1e-05"], ["", "", "", "", ""]]
    lines = fitting_table(HEADER, rows, width, cut="~").splitlines()
    assert max(map(cells, lines)) <= width
    assert "…" not in lines[-1]


def test_long_cells_are_cut() -> None:
    assert clip("recall", 6) == "recall" == clip("recall", None)
    assert clip("recall", 4) == "rec…"
    assert clip("名前", 3, cut="~") == "名~"
