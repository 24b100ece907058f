"""Numbers as text: what a person reads."""

from __future__ import annotations

import pytest

from lit_mlfund.reports.terminal import fitting_table, format_table, number, result_table, wrap


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.69234, "0.6923"), (12345.6, "12,346"), (0.0, "0"), (None, "–"), (float("nan"), "–"), (1e-5, "1e-05")],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_row_per_metric_and_a_column_per_reference() -> None:
    entry = {"value": 0.7, "low": 0.6, "high": 0.8}
    metrics = {
        "splits": {"test": {"auroc": entry, "ece": entry}},
        "references": {"gradient_boosting": {"test": {"auroc": {"value": 0.5, "low": 0.4, "high": 0.6}}}},
    }
    header, rows = result_table(metrics)
    assert header == ["metric", "this model", "95 % interval", "gradient boosting"]
    assert rows == [["auroc", "0.7", "0.6 … 0.8", "0.5"], ["ece", "0.7", "0.6 … 0.8", "–"]]


def test_columns_are_aligned() -> None:
    lines = format_table(["name", "x"], [["a", "10"], ["longer", "2"]]).splitlines()
    assert lines == ["name     x", "─" * 10, "a       10", "longer   2"]


def test_a_table_fits_the_terminal() -> None:
    header = ["metric", "this model", "95 % interval", "constant", "gradient boosting"]
    rows = [["average_precision", "0.921", "0.8318 … 0.9812", "0.5167", "0.9688"]]
    assert fitting_table(header, rows, 100) == format_table(header, rows)
    assert fitting_table(header, rows, 65).splitlines() == [
        "                    this             95 %            gradient",
        "metric             model         interval  constant  boosting",
        "─" * 61,
        "average_precision  0.921  0.8318 … 0.9812    0.5167    0.9688",
    ]
    narrow = fitting_table(header, rows, 45)
    assert max(map(len, narrow.splitlines())) <= 45
    assert [line.split() for line in narrow.splitlines() if line.startswith("average")] == [
        ["average_precision", "0.921", "0.8318", "…", "0.9812"],
        ["average_precision", "0.5167", "0.9688"],
    ]


def test_long_lines_are_broken_at_blanks() -> None:
    assert wrap("  numeric: aa, bb, cc, dd", 16) == "  numeric: aa,\n      bb, cc, dd"
    assert wrap("short", 20) == "short"
    assert wrap("a " * 50, 20, max_lines=2).splitlines()[-1].endswith(" …")
