"""Draws decompositions of losses: the parts of each as one column, side by side for the values of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lit_mlfund.reports.pictures import GREY, MODEL, REFERENCE

LIGHT = "#e8b48f"
PARTS = {  # part -> its name in the legend and its colour
    "noise": ("noise", GREY),
    "bias": ("bias", MODEL),
    "noise_and_bias": ("noise + bias", MODEL),
    "variance": ("variance", REFERENCE),
    "variance_data": ("variance: training rows", REFERENCE),
    "variance_initialisation": ("variance: initialisation", LIGHT),
}


def decomposition_figure(points: Sequence[dict[str, Any]], sweep: str | None) -> Figure:
    """Draw a column for each point, one axis for each loss; the line through their ends is the total.

    Args:
        points: as in `result.json`, done.
        sweep: the key that differs, None where there is one point.
    """
    names = list(points[0]["losses"])
    width = max(5.4, max(3.2, 1.4 + 0.7 * len(points)) * len(names))
    figure = Figure(figsize=(width, 4.2), layout="constrained", dpi=110)
    axes = np.atleast_1d(figure.subplots(1, len(names)))
    for axis, name in zip(axes, names):
        _draw(axis, [point["losses"][name] for point in points])
        axis.set(title=name.replace("_", " "), xlabel=sweep or "")
        labels = [str(point["value"]) if sweep else "" for point in points]
        axis.set_xlim(-0.8, len(points) - 0.2)
        axis.set_xticks(range(len(points)), labels, rotation=45 if max(map(len, labels)) > 6 else 0)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw(axis: Axes, losses: Sequence[dict[str, Any]]) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#e6e8eb", linewidth=0.8)
    axis.set_axisbelow(True)
    position = np.arange(len(losses))
    known = all(parts["noise"]["value"] == parts["noise"]["value"] for parts in losses)
    split = all(parts["variance_data"] is not None for parts in losses)
    chosen = ["noise", "bias"] if known else ["noise_and_bias"]
    chosen += ["variance_data", "variance_initialisation"] if split else ["variance"]
    above, below = np.zeros(len(losses)), np.zeros(len(losses))
    for part in chosen:
        height = np.array([parts[part]["value"] for parts in losses])
        start = np.where(height >= 0, above, below)
        label, colour = PARTS[part]
        axis.bar(position, height, 0.62, bottom=start, color=colour, label=label)
        above, below = above + height.clip(min=0), below + height.clip(max=0)
    total = np.array([parts["total"]["value"] for parts in losses])
    half = np.array([parts["total"]["high"] for parts in losses]) - total
    axis.errorbar(
        position, total, half, fmt="o-", color="#24292f", markersize=4, linewidth=1, capsize=3, label="total"
    )
