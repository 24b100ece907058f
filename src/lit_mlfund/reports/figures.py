"""Sheets to draw on: figures with our margins, wiped and taken again, as making one costs as much as drawing on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

MOST_KEPT = 4
_kept: list[tuple[tuple[Any, ...], Figure, list[Axes]]] = []


def sheet(
    columns: int = 1, width: float = 5.0, height: float = 3.6, left: float = 0.8
) -> tuple[Figure, list[Axes]]:
    """Axes side by side, each `width` inches with its labels, of which `left` are for those of the values.

    matplotlib's layout engines find such margins by drawing everything twice, half of what a small run's card costs.
    """
    form = columns, width, height, left
    for place, (other, figure, axes) in enumerate(_kept):
        if other == form:
            del _kept[place]
            return figure, axes
    figure = Figure(figsize=(width * columns, height), dpi=110)
    right = 0.15
    figure.subplots_adjust(
        left=left / (width * columns),
        right=1 - right / (width * columns),
        bottom=0.55 / height,
        top=1 - 0.3 / height,
        wspace=(left + right) / (width - left - right),
    )
    axes = list(np.atleast_1d(figure.subplots(1, columns)))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#e6e8eb", linewidth=0.8)
        axis.set_axisbelow(True)
        _blank(axis)
    figure.sheet = form  # type: ignore[attr-defined]
    return figure, axes


def give_back(figure: Figure) -> None:
    """Wipe a sheet that was drawn on and is not needed any more; others than those of `sheet` are left alone."""
    form = getattr(figure, "sheet", None)
    if form is None or len(figure.axes) != form[0] or figure.get_layout_engine() is not None:
        return  # something was built on to it
    for axis in figure.axes:
        _wipe(axis)
    _kept.append((form, figure, list(figure.axes)))
    del _kept[:-MOST_KEPT]


def _wipe(axis: Axes) -> None:
    for artist in [*axis.lines, *axis.patches, *axis.collections, *axis.texts, *axis.images]:
        artist.remove()
    if (legend := axis.get_legend()) is not None:
        legend.remove()
    axis.containers.clear()
    axis.set_prop_cycle(None)
    axis.set(xlabel="", ylabel="", aspect="auto", xscale="linear", yscale="linear")
    axis.relim()
    _blank(axis)


def _blank(axis: Axes) -> None:
    axis.set_title("", y=1.0)  # the place given, none has to be looked for
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_locator(Ticks())
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.autoscale(True)


class Ticks(MaxNLocator):
    """A few round numbers within the view; matplotlib's own are twice as many, and lie beyond it as well.

    Ticks with their labels are most of what a picture costs, those outside of the view too.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(nbins=6, steps=[1, 2, 5, 10], **settings)

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:  # type: ignore[override]
        values = np.asarray(super().tick_values(vmin, vmax))
        low, high = min(vmin, vmax), max(vmin, vmax)
        slack = 1e-9 * (high - low)
        return values[(values >= low - slack) & (values <= high + slack)]
