"""Draws the figure of a learning-rate range test."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from lit_mlfund.diagnostics.learning_rate import Recommendation
from lit_mlfund.reports.pictures import GREY, MODEL, REFERENCE


def range_test_figure(rates: list[float], losses: list[float], recommendation: Recommendation) -> Figure:
    """Draw the loss of each step against its learning rate, the smoothed loss, and the recommended rate."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained", dpi=110)
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#e6e8eb", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.plot(rates, losses, ".", color=GREY, markersize=3, label="loss of a step")
    axis.plot(rates, recommendation.smoothed, color=MODEL, label="smoothed")
    axis.axvline(
        recommendation.lr, color=REFERENCE, linestyle="--", label=f"recommended: {recommendation.lr:.2g}"
    )
    low, high = min(recommendation.smoothed), max(recommendation.smoothed)
    pad = 0.25 * (high - low) or 1.0
    visible = [loss for loss in losses if np.isfinite(loss) and loss < high + 2 * pad]
    axis.set_ylim(min([low, *visible]) - 0.2 * pad, high + pad)
    axis.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axis.legend(frameon=False, loc="lower left")
    return figure
