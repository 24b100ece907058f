"""Draws the figure of a sweep over the learning rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lit_mlfund.reports.pictures import GREY, MODEL, REFERENCE


def lr_sweep_figure(trials: Sequence[tuple[float, float | None]], best: float, name: str) -> Figure:
    """Draw the best monitored value of each training against its learning rate; crosses mark those that failed.

    Args:
        trials: learning rate and value; None where there is none.
        best: the rate to mark.
        name: name of the monitored value.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained", dpi=110)
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#e6e8eb", linewidth=0.8)
    axis.set_axisbelow(True)
    done = sorted((rate, value) for rate, value in trials if value is not None)
    failed = [rate for rate, value in trials if value is None]
    axis.plot(*np.array(done).T, "-o", color=MODEL, markersize=4, linewidth=1.2)
    axis.axvline(best, color=REFERENCE, linestyle="--", linewidth=1, label=f"best: {best:.3g}")
    if failed:
        low = [0.04] * len(failed)
        axis.plot(failed, low, "x", color=GREY, transform=axis.get_xaxis_transform(), label="failed")
    axis.set(xscale="log", xlabel="learning rate", ylabel=f"best {name}")
    rates = sorted({rate for rate, _ in trials})
    axis.set_xticks(rates, [f"{rate:.2g}" for rate in rates], rotation=45 if len(rates) > 8 else 0)
    axis.minorticks_off()
    axis.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    return figure
