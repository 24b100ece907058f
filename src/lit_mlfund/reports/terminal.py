"""Formats the numbers of a run as text tables, for the terminal and the run card."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any


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
        [name, number(entry["value"]), f"{number(entry['low'])} … {number(entry['high'])}"]
        + [number(values.get(name, {}).get("value")) for values in references.values()]
        for name, entry in model.items()
    ]
    return header, rows


def format_table(header: list[str], rows: list[list[str]]) -> str:
    """Align columns with spaces: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        )
        for row in [header, *rows]
    ]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:]])


def start_text(run_dir: Path) -> str:
    """Format the text shown before training starts: the data as they were interpreted, the model, the folder."""
    provenance = json.loads((run_dir / "provenance.json").read_text())
    data = provenance["data"]
    sizes = "  ".join(f"{split} {size:,}" for split, size in data.get("rows", {}).items())
    lines = [f"{provenance['task']}  {sizes} rows"]
    for kind, columns in data.get("columns", {}).items():
        names = columns if isinstance(columns, str) else ", ".join(map(_column, _pairs(columns)))
        if names:
            lines.append(f"  {kind}: {names}")
    for key, title in (("imputed_cells", "imputed"), ("unknown_categories", "unknown categories")):
        counts = {split: sum(cells.values()) for split, cells in data.get(key, {}).items() if cells}
        if counts:
            lines.append(
                f"  {title}: " + "  ".join(f"{split} {count:,} cells" for split, count in counts.items())
            )
    lines += [f"  {note}" for note in data.get("notes", [])]
    lines.append(f"model  {provenance['num_parameters']:,} parameters")
    lines.append(f"run    {run_dir}")
    return "\n".join(shorten(line) for line in lines)


def shorten(line: str, width: int = 160) -> str:
    """Cut a line to `width` characters; the run card has all of it."""
    return line if len(line) <= width else line[: width - 1] + "…"


def _pairs(columns: Any) -> list[tuple[str, Any]]:
    if isinstance(columns, dict):
        return list(columns.items())
    return [(str(column), None) for column in columns]


def _column(pair: tuple[str, Any]) -> str:
    name, detail = pair
    return (
        name
        if detail is None
        else f"{name} ({detail:,})"
        if isinstance(detail, int)
        else f"{name} ({detail})"
    )


def run_text(run_dir: Path) -> str:
    """Format the text shown at the end of a run: the table of results, the findings, and the path of the report."""
    metrics_file, findings_file = run_dir / "metrics.json", run_dir / "findings.json"
    parts = []
    metrics = json.loads(metrics_file.read_text()) if metrics_file.exists() else {}
    if "splits" in metrics:
        parts += ["", format_table(*result_table(metrics)), ""]
    for finding in json.loads(findings_file.read_text()) if findings_file.exists() else []:
        parts.append(f"{finding['severity']}: {finding['name']}: {finding['symptom']}")
        parts += [f"    try {fix}" for fix in finding["fixes"]]
    if "splits" in metrics and not (findings_file.exists() and json.loads(findings_file.read_text())):
        parts.append("verdict: no problems found")
    if (run_dir / "report.html").exists():
        parts.append(f"report: {run_dir / 'report.html'}")
    return "\n".join(parts)
