"""Arranges the numbers of a run in rows, for the terminal and the run card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lit_mlfund.reports.tables import number


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
            f"{name.replace('_', ' ')} is left out: {reason} (references_seconds)"
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
