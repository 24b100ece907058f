"""Formats decompositions of losses as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lit_mlfund.reports.tables import number
from lit_mlfund.reports.terminal import table_text

COLUMNS = {
    "total": "total",
    "noise": "noise",
    "bias": "bias",
    "noise_and_bias": "noise + bias",
    "variance": "variance",
    "variance_data": "by rows",
    "variance_initialisation": "by seed",
}


def decomposition_text(points: Sequence[dict[str, Any]], sweep: str | None) -> str:
    """Format one row for each loss of each point; a part has half the width of its 95 % interval beside it.

    Args:
        points: as in `result.json`; those that failed are left out.
        sweep: the key that differs, None where there is one point.
    """
    done = [point for point in points if point["status"] == "done"]
    rows = [
        [
            name.replace("_", " "),
            *([str(point["value"])] if sweep else []),
            *(_cell(parts.get(column)) for column in COLUMNS),
        ]
        for name in (done[0]["losses"] if done else ())
        for point in done
        for parts in [point["losses"][name]]
    ]
    header = ["loss", *([sweep] if sweep else []), *COLUMNS.values()]
    return table_text(header, rows, "in result.json") if rows else ""


def _cell(part: dict[str, float] | None) -> str:
    """Format a part, or the bound of one that is not known."""
    if part is None:
        return "–"
    if part["value"] != part["value"]:
        return f"≤ {number(part['high'])}"
    half = part["high"] - part["value"]
    return f"{number(part['value'])} ± {half:.2g}" if half else number(part["value"])
