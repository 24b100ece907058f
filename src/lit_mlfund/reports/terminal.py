"""Formats the numbers of a run as text tables, for the terminal and the run card."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lit_mlfund.reports.data_text import budget_text, size_text, target_text
from lit_mlfund.reports.run_files import read_json

COUNTED = ("rows", "queries", "characters", "windows")  # what `Run.evaluate` counts


def number(value: float | None) -> str:
    """Format a number with four significant digits; a missing one becomes a dash."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"


def result_table(metrics: dict[str, Any], split: str = "test") -> tuple[list[str], list[list[str]]]:
    """Return header and rows: one row per metric, with this model and its interval, then the references.

    Args:
        metrics: the contents of `metrics.json`.
        split: the split whose numbers are shown.
    """
    model = metrics["splits"][split]
    references = {name: splits[split] for name, splits in metrics["references"].items() if split in splits}
    header = ["metric", "this model", "95 % interval", *(name.replace("_", " ") for name in references)]
    rows = [
        [name, number(entry["value"]), _interval(entry)]
        + [number(values.get(name, {}).get("value")) for values in references.values()]
        for name, entry in model.items()
    ]
    return header, rows


def table_notes(metrics: dict[str, Any]) -> list[str]:
    """Return the lines below the table: what this model averages, and each missing reference with the reason."""
    left_out = metrics.get("references_left_out", {})
    return [
        *_blend_lines(metrics.get("blend", {})),
        *(
            f"{name.replace('_', ' ')} is left out: {reason}"
            + (" (references_seconds)" if reason.startswith("not fitted within") else "")
            for name, reason in left_out.items()
        ),
    ]


def _blend_lines(blend: dict[str, Any]) -> Iterator[str]:
    if "left_out" in blend:
        yield f"this model is the network alone: boosting was {blend['left_out']} (references_seconds)"
    elif blend:
        share, metric, values = blend["share"], blend["metric"], blend["values"]
        yield (
            f"this model is {share:.0%} network and {1 - share:.0%} gradient boosting, the best average by validation "
            f"{metric}: {number(values[f'{share:g}'])}; the network alone has {number(values['1'])}, "
            f"boosting alone {number(values['0'])}"
        )


def _interval(entry: dict[str, float]) -> str:
    low, high = number(entry["low"]), number(entry["high"])
    return low if low == high == "–" else f"{low} … {high}"


def format_table(header: list[str], rows: list[list[str]], two_lines: bool = False) -> str:
    """Align columns with spaces: the first to the left, the others to the right.

    With `two_lines` a header of several words is broken at its last blank.
    """
    heads = [header]
    if two_lines:
        heads = [list(line) for line in zip(*(cell.rpartition(" ")[::2] for cell in header))]
    widths = [max(len(row[column]) for row in [*heads, *rows]) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        )
        for row in [*heads, *rows]
    ]
    return "\n".join([*lines[: len(heads)], "─" * len(lines[0]), *lines[len(heads) :]])


def fitting_table(header: list[str], rows: list[list[str]], width: int) -> str:
    """Format a table within `width`: where necessary with headers on two lines, then in blocks of columns."""
    text = format_table(header, rows)
    if len(text.partition("\n")[0]) <= width:
        return text
    text = format_table(header, rows, two_lines=True)
    if len(header) <= 2 or len(text.partition("\n")[0]) <= width:
        return text
    for size in range(len(header) - 1, 1, -1):
        text = format_table(header[:size], [row[:size] for row in rows], two_lines=True)
        if size == 2 or len(text.partition("\n")[0]) <= width:
            rest = [[row[0], *row[size:]] for row in rows]
            return f"{text}\n\n{fitting_table([header[0], *header[size:]], rest, width)}"
    raise AssertionError("the loop ends with two columns")


def evaluation_text(result: dict[str, Any]) -> str:
    """Format what `mlfund evaluate` has measured: the rows, then every metric with its interval.

    Args:
        result: as `Run.evaluate` returns it.
    """
    counts = "  ".join(f"{result[unit]:,} {unit}" for unit in COUNTED if isinstance(result.get(unit), int))
    place = result.get("path") or f"{result.get('split')} split"
    lines = [wrap(f"{place}  {counts}", terminal_width())]
    if notes := [f"{name} {count}" for name, count in (result.get("notes") or {}).items() if count]:
        lines.append(wrap(f"  {', '.join(notes)}", terminal_width()))
    table = result_table({"splits": {"test": result.get("metrics", {})}, "references": {}})
    return "\n".join([*lines, "", fitting_table(*table, terminal_width()), ""])


def start_text(run_dir: Path, facts: bool = True) -> str:
    """Format the text shown before training starts: the data as they were interpreted, the model, the folder.

    Without `facts` it leaves out the data, which an earlier run has told.
    """
    provenance = read_json(run_dir / "provenance.json")
    lines = [facts_text(provenance["task"], provenance["data"])] if facts else []
    if note := provenance.get("target_note"):
        lines.append(wrap(f"target {note}", terminal_width()))
    lines.append(wrap(f"model  {provenance['num_parameters']:,} parameters", terminal_width()))
    if plan := provenance.get("budget"):
        lines.append(wrap(f"train  {budget_text(plan)}", terminal_width()))
    return "\n".join([*lines, f"run    {run_dir}"])


def facts_text(task: str, data: dict[str, Any]) -> str:
    """Format the data as they were interpreted: rows, target, columns, how the rows were split.

    Args:
        task: the name of the task.
        data: the summary of a data module.
    """
    lines = [f"{task}  {size_text(data)}"]
    if queries := size_text(data, "queries"):
        lines.append(f"  lists: {queries}")
    if target := target_text(task, data):
        lines.append(f"  target: {target}")
    for kind, columns in data.get("columns", {}).items():
        pairs = [] if isinstance(columns, str) else _pairs(columns)
        separator = "; " if any(isinstance(detail, (dict, list)) for _, detail in pairs) else ", "
        names = (
            columns
            if isinstance(columns, str)
            else separator.join(_column(pair) for pair in pairs if pair[1] not in ([], {}))
        )
        if names:
            lines.append(f"  {kind}: {names}")
    for key, title in (("imputed_cells", "imputed"), ("unknown_categories", "unknown categories")):
        counts = {split: sum(cells.values()) for split, cells in data.get(key, {}).items() if cells}
        if counts:
            lines.append(
                f"  {title}: " + "  ".join(f"{split} {count:,} cells" for split, count in counts.items())
            )
    lines += [f"  {note}" for note in data.get("notes", [])]
    width = terminal_width()
    return "\n".join(wrap(line, width) for line in lines)


def terminal_width() -> int:
    """Return the width of the terminal, 100 where there is none; `COLUMNS` overrides it."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


def wrap(line: str, width: int, max_lines: int = 4) -> str:
    """Break a line at blanks, with an indent of its own for what follows; the run card has what is cut off."""
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(
        line.strip(),
        width,
        initial_indent=indent,
        subsequent_indent=indent + "    ",
        max_lines=max_lines,
        placeholder=" …",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _pairs(columns: Any) -> list[tuple[str, Any]]:
    if isinstance(columns, dict):
        return list(columns.items())
    return [(str(column), None) for column in columns]


def _column(pair: tuple[str, Any]) -> str:
    name, detail = pair
    if isinstance(detail, (dict, list)):  # of users and items: columns by kind
        return f"{name} {', '.join(map(_column, _pairs(detail)))}"
    return (
        name
        if detail is None
        else f"{name} ({detail:,})"
        if isinstance(detail, int)
        else f"{name} ({detail})"
    )


def run_text(run_dir: Path) -> str:
    """Format the text shown at the end of a run: the table of results, the findings, and the path of the report."""
    metrics, findings = read_json(run_dir / "metrics.json"), read_json(run_dir / "findings.json")
    parts = []
    if "splits" in metrics:
        parts += ["", fitting_table(*result_table(metrics), terminal_width())]
        parts += [*(wrap(line, terminal_width()) for line in table_notes(metrics)), ""]
    if findings or "splits" in metrics:
        parts.append(findings_text(findings))
    if (run_dir / "report.html").exists():
        parts.append(f"report: {run_dir / 'report.html'}")
    return "\n".join(parts)


def findings_text(findings: list[dict[str, Any]]) -> str:
    """Format findings: a line for each, and the overrides to try."""
    parts = []
    for finding in findings:
        text = f"{finding['severity']}: {finding['name']}: {finding['symptom']}"
        parts.append(wrap(text, terminal_width(), max_lines=12))
        parts += [f"    try {fix}" for fix in finding["fixes"]]
    return "\n".join(parts or ["verdict: no problems found"])
