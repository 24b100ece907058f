"""Formats a comparison of runs for the terminal: what differs, then the metrics side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lit_mlfund.interval import Interval
from lit_mlfund.reports.comparison.compare import Cell, Comparison
from lit_mlfund.reports.comparison.curves import letter
from lit_mlfund.reports.comparison.run_table import short_name
from lit_mlfund.reports.tables import clip, number
from lit_mlfund.reports.terminal import table_text, wrap
from lit_mlfund.run_folders.differences import Differences
from lit_mlfund.startup.streams import OUTPUT

_WIDEST = 28  # of a value in a column; pages show all of it
_MOST = 12  # differences of one kind
Table = tuple[list[str], list[list[str]]]


def compare_text(comparison: Comparison) -> str:
    """Format the differences, each kind as a table, and the metrics."""
    names = labels(comparison)
    parts = [wrap(line, OUTPUT.screen.text_width) for line in notes(comparison)]
    for title, told in kinds(comparison):
        rows = [[clip(key, 40), *(clip(text, _WIDEST) for text in texts)] for key, texts in told.items()]
        if rows:
            parts.append(table_text([title, *names], rows[:_MOST]))
        if len(rows) > _MOST:
            parts[-1] += f"\n… and {len(rows) - _MOST} more in the report"
    parts.append(table_text(*metrics_table(comparison, number_text)))
    return "\n\n".join(parts)


def notes(comparison: Comparison) -> list[str]:
    """Return what is to be known before the numbers are read, a line each."""
    tasks = dict.fromkeys(members[0].task for members in comparison.members)
    lines = []
    if len(tasks) > 1:
        lines.append(f"the tasks differ ({', '.join(tasks)}): metrics of one name need not mean the same")
    for members, name in zip(comparison.members, labels(comparison)):
        for record in members:
            if record.status != "done":
                lines.append(f"{name}: {short_name(record)} is {record.status}")
    if not any(told for _, told in kinds(comparison)):
        lines.append("nothing differs in what they were given, in configuration, versions and data")
    return lines


def kinds(comparison: Comparison) -> list[tuple[str, Differences]]:
    """Return title and differences of each kind."""
    return [
        ("given", comparison.given),
        ("configuration", comparison.configuration),
        ("data", comparison.data),
        ("versions", comparison.versions),
    ]


def labels(comparison: Comparison) -> list[str]:
    """Return the letter and a short name for each column: of its run, or how many runs there are in its group."""
    names = [
        f"({len(runs)} {'run' if len(runs) == 1 else 'runs'})" if comparison.over else short_name(runs[0])
        for runs in comparison.members
    ]
    return [f"{letter(column)} {name}" for column, name in enumerate(names)]


def metrics_table(comparison: Comparison, shown: Callable[[Cell], str]) -> Table:
    """Return header and rows: one row a metric, each value as `shown` and each difference to the first column."""
    header = ["metric", letter(0)]
    for column in range(1, len(comparison.members)):
        header += [letter(column), f"{letter(column)} − {letter(0)}"]
    rows = []
    for metric, cells in comparison.metrics.items():
        row = [metric, shown(cells[0])]
        for cell in cells[1:]:
            row += [shown(cell), difference_text(cell)]
        rows.append(row)
    return header, rows


def number_text(cell: Cell) -> str:
    """Format a value, or a mean with its deviation."""
    return number(cell.value) + ("" if cell.deviation is None else f" ± {cell.deviation:.2g}")


def interval_text(cell: Cell) -> str:
    """Format a value with its interval, or a mean with its deviation."""
    if cell.deviation is not None:
        return number_text(cell)
    if cell.low is None or cell.high is None or cell.low == cell.high:
        return number(cell.value)
    return f"{number(cell.value)} ({number(cell.low)} … {number(cell.high)})"


def difference_text(cell: Cell) -> str:
    """Format a paired difference with its interval and what that means, or why there is none."""
    if cell.difference is None:
        return cell.reason or number(None)
    one = cell.difference
    return " ".join(
        filter(None, [_signed(one.value), f"({_signed(one.low)} … {_signed(one.high)})", cell.verdict])
    )


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain Python, for the line of JSON."""
    return {
        "runs": [[str(record.folder) for record in members] for members in comparison.members]
        if comparison.over
        else [str(members[0].folder) for members in comparison.members],
        **{title: told for title, told in kinds(comparison)},
        "metrics": {
            metric: [_plain(cell, bool(comparison.over)) for cell in cells]
            for metric, cells in comparison.metrics.items()
        },
    }


def _plain(cell: Cell, is_mean: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"value": cell.value}
    told |= {"deviation": cell.deviation} if is_mean else {"low": cell.low, "high": cell.high}
    if isinstance(cell.difference, Interval):
        told["difference"] = cell.difference.to_dict()
    elif cell.reason:
        told["difference"] = None
        told["reason"] = cell.reason
    return told


def _signed(value: float) -> str:
    text = number(value) if abs(value) >= 10 else f"{value:.2g}"
    return f"+{text}" if value > 0 else text.replace("-", "−")
