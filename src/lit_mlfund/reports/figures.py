"""Provides figures with fixed margins from a pool, as creating one costs as much as drawing on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

POOL_SIZE = 4
_pool: list[tuple[tuple[Any, ...], Figure, list[Axes]]] = []


def reusable_figure(
    columns: int = 1, width: float = 5.0, height: float = 3.6, left: float = 0.8
) -> tuple[Figure, list[Axes]]:
    """Return axes side by side, each `width` inches with labels, of which `left` are for those of the value axis.

    matplotlib's layout engines find such margins by drawing everything twice, which is half the cost of a small run's
    card.
    """
    layout = columns, width, height, left
    for index, (other, figure, axes) in enumerate(_pool):
        if other == layout:
            del _pool[index]
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
        _reset(axis)
    figure.pool_layout = layout  # type: ignore[attr-defined]
    return figure, axes


def set_caption(figure: Figure, text: str) -> None:
    """Keep what is to be said below a figure where it is shown on a page."""
    figure.caption = text  # type: ignore[attr-defined]


def caption(figure: Figure) -> str:
    """Return the text of `set_caption`, or an empty one."""
    return getattr(figure, "caption", "")


def recycle(figure: Figure) -> None:
    """Clear a figure that is no longer needed and return it to the pool; ignore any not of `reusable_figure`."""
    layout = getattr(figure, "pool_layout", None)
    if layout is None or len(figure.axes) != layout[0] or figure.get_layout_engine() is not None:
        return  # axes such as a colour bar or a layout engine were added
    for axis in figure.axes:
        _clear(axis)
    set_caption(figure, "")
    _pool.append((layout, figure, list(figure.axes)))
    del _pool[:-POOL_SIZE]


def _clear(axis: Axes) -> None:
    for artist in [*axis.lines, *axis.patches, *axis.collections, *axis.texts, *axis.images]:
        artist.remove()
    if (legend := axis.get_legend()) is not None:
        legend.remove()
    axis.containers.clear()
    axis.set_prop_cycle(None)
    axis.set(xlabel="", ylabel="", aspect="auto", xscale="linear", yscale="linear")
    axis.relim()
    _reset(axis)


def _reset(axis: Axes) -> None:
    axis.set_title("", y=1.0)  # with a fixed position matplotlib need not search for a free one
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_locator(Ticks())
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.autoscale(True)


class Ticks(MaxNLocator):
    """Places a few ticks at round numbers within the view; matplotlib's default makes twice as many, also outside.

    Ticks with their labels are most of the cost of a picture, including those outside the view.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(nbins=6, steps=[1, 2, 5, 10], **settings)

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:  # type: ignore[override]
        values = np.asarray(super().tick_values(vmin, vmax))
        low, high = min(vmin, vmax), max(vmin, vmax)
        slack = 1e-9 * (high - low)
        return values[(values >= low - slack) & (values <= high + slack)]
