"""Draws panels of a claim's picture: values against a number or by setting, curves over steps, spreads by key."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from lit_mlfund.references.comparison import bootstrap_mean, mean_interval
from lit_mlfund.sweeps.claims.expectations import spread_of
from lit_mlfund.sweeps.claims.records import Evidence, Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito 2008: distinguishable with colour blindness
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8a8f98")
MARKERS = "osD^vP*X"
GREY = "#8a8f98"
SHORT = 0.8  # share of a panel's width: a line that ends before it is labelled at its end


@dataclass(frozen=True)
class Lines:
    """Plots a value against a numeric key: the mean over seeds with its 95 % interval, each seed as a dot.

    Args:
        x: one of the compared keys; each combination of the others is a line.
        y: the value.
        label: label of the value axis, with its unit.
        log: logarithmic axes; a 0 is then drawn to the left of the other values.
        only: values of some keys, to show a subset.
    """

    x: str
    y: str
    label: str = ""
    log: Literal["", "x", "y", "xy"] = ""
    only: dict[str, str] = field(default_factory=dict)

    def draw(self, axis: Axes, evidence: Evidence) -> None:
        part = evidence.compare.index(self.x)
        settings = evidence.matching(self.only)
        levels = sorted({setting[part] for setting in settings}, key=float)
        positions = dict(zip(levels, _positions([float(level) for level in levels], "x" in self.log)))
        ends = []
        lines = _grouped(settings, part)
        for number, group in enumerate(lines):
            color = COLORS[number % len(COLORS)]
            rows = [
                (positions[setting[part]], mean_interval(evidence.numbers(setting, self.y)), setting)
                for setting in sorted(group, key=lambda setting: float(setting[part]))
            ]
            rows = [row for row in rows if math.isfinite(row[1][0])]
            for x, (_, low, high), setting in rows:
                values = evidence.numbers(setting, self.y)
                axis.plot([x] * len(values), values, ".", color=color, alpha=0.35, markersize=4)
                axis.plot([x, x], [low, high], color=color, linewidth=1, alpha=0.6)
            across, up = [row[0] for row in rows], [row[1][0] for row in rows]
            axis.plot(across, up, color=color, marker=MARKERS[number % len(MARKERS)], markersize=5)
            if rows and len(lines) > 1:
                ends.append(
                    (across[-1], up[-1], evidence.label(group[0], without=(self.x, *self.only)), color)
                )
        axis.set_xticks(list(positions.values()), [f"{float(level):g}" for level in levels])
        if len(levels) > 6:
            axis.tick_params(axis="x", labelrotation=45)
        axis.set(xlabel=evidence.key_label(self.x), ylabel=self.label or self.y)
        if "y" in self.log:
            _logarithmic(axis, "y")
        _label_ends(axis, ends)


@dataclass(frozen=True)
class Dots:
    """Plots a value by setting: one row each, the mean over seeds with its 95 % interval, each seed as a dot.

    Args:
        y: the value.
        label: label of the value axis, with its unit.
        log: whether the axis is logarithmic.
        only: values of some keys, to show a subset.
    """

    y: str
    label: str = ""
    log: bool = False
    only: dict[str, str] = field(default_factory=dict)

    def draw(self, axis: Axes, evidence: Evidence) -> None:
        settings = evidence.matching(self.only)
        for row, setting in enumerate(settings):
            values = evidence.numbers(setting, self.y)
            mean, low, high = mean_interval(values)
            color = COLORS[row % len(COLORS)]
            axis.plot(values, [row] * len(values), ".", color=color, alpha=0.4, markersize=5)
            axis.plot([low, high], [row, row], color=color, linewidth=2.2, alpha=0.6)
            axis.plot(mean, row, MARKERS[row % len(MARKERS)], color=color, markersize=6)
        axis.set_yticks(
            range(len(settings)), [evidence.label(setting, without=tuple(self.only)) for setting in settings]
        )
        axis.set(xlabel=self.label or self.y, ylim=(len(settings) - 0.4, -0.6))
        axis.locator_params(axis="x", nbins=6)
        if self.log:
            _logarithmic(axis, "x")


@dataclass(frozen=True)
class Curves:
    """Plots a value over the steps of training, by setting: the mean over seeds, each seed as a thin line.

    A cross marks where a run failed because its loss was no longer a number.

    Args:
        y: the value, such as `train/loss` or `val/loss`.
        label: label of the value axis, with its unit.
        log: whether the value axis is logarithmic.
        only: values of some keys, to show a subset.
    """

    y: str = "train/loss"
    label: str = ""
    log: bool = False
    only: dict[str, str] = field(default_factory=dict)

    def draw(self, axis: Axes, evidence: Evidence) -> None:
        ends = []
        settings = evidence.matching(self.only)
        # the fixed keys are not named, so that a setting has the same colour in panels that fix other values
        hidden = tuple(self.only)
        names = list(dict.fromkeys(evidence.label(setting, without=hidden) for setting in evidence.groups))
        for setting in settings:
            name = evidence.label(setting, without=hidden)
            color = COLORS[names.index(name) % len(COLORS)]
            curves = []
            for record in evidence.groups[setting]:
                steps, values = record.curve(self.y)
                points = [(step, value) for step, value in zip(steps, values) if math.isfinite(value)]
                if not points:
                    continue
                curves.append(points)
                axis.plot(*zip(*points), color=color, linewidth=0.7, alpha=0.3)
                if record.failed:
                    axis.plot(*points[-1], "x", color=color, markersize=8, markeredgewidth=2)
            if not curves:
                continue
            mean = _mean_curve(curves)
            axis.plot(*zip(*mean), color=color, linewidth=1.8)
            ends.append((*mean[-1], name, color))
        axis.set(xlabel="optimizer steps", ylabel=self.label or self.y)
        if self.log:
            _logarithmic(axis, "y")
        _label_ends(axis, ends)


@dataclass(frozen=True)
class Spreads:
    """Plots how much a value changes as one key alone varies, with 95 % bootstrap intervals.

    Args:
        y: the value.
        label: label of the value axis, with its unit.
    """

    y: str
    label: str = ""

    def draw(self, axis: Axes, evidence: Evidence) -> None:
        ranges = {key: bootstrap_mean(spread_of(evidence, key, self.y)) for key in evidence.compare}
        ordered = sorted(ranges, key=lambda key: -ranges[key][0])
        for row, key in enumerate(ordered):
            mean, low, high = ranges[key]
            color = COLORS[0] if not row else GREY
            axis.barh(row, mean, color=color, alpha=0.75, height=0.6)
            axis.plot([low, high], [row, row], color="#1d2329", linewidth=1.5)
        labels = [
            f"{evidence.key_label(key)}\n{', '.join(_short(level) for level in evidence.levels(key))}"
            for key in ordered
        ]
        axis.set_yticks(range(len(ordered)), labels)
        axis.set(
            xlabel=self.label or f"mean range of {self.y}", ylim=(len(ordered) - 0.4, -0.6), xlim=(0, None)
        )


def _short(level: str) -> str:
    try:
        return f"{float(level):g}"
    except ValueError:
        return level.strip("[]").replace(",", "-")


def _logarithmic(axis: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with plain numbers: 0.2, not 2 × 10⁻¹."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set(**{f"{which}scale": "log"})  # type: ignore[arg-type]
    chosen = axis.xaxis if which == "x" else axis.yaxis
    low, high = chosen.get_view_interval()
    wide = high / max(low, 1e-300) > 30  # enough decades to label only powers of ten
    chosen.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    chosen.set_minor_formatter(NullFormatter())


def _grouped(settings: list[Setting], part: int) -> list[list[Setting]]:
    """Group the settings that differ in one part only."""
    groups: dict[Setting, list[Setting]] = {}
    for setting in settings:
        groups.setdefault((*setting[:part], *setting[part + 1 :]), []).append(setting)
    return list(groups.values())


def _positions(levels: list[float], log: bool) -> list[float]:
    """Return positions on the axis: the values, or their logarithms with 0 one step before the smallest."""
    if not log:
        return levels
    logs = [math.log10(level) for level in levels if level > 0]
    gap = min((b - a for a, b in itertools.pairwise(logs)), default=1.0)
    return [math.log10(level) if level > 0 else logs[0] - max(gap, 0.5) for level in levels]


def _mean_curve(curves: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Average the curves at the steps that all of them have; runs of one sweep log at the same steps."""
    by_step: dict[float, list[float]] = {}
    for step, value in itertools.chain(*curves):
        by_step.setdefault(step, []).append(value)
    full = [(step, float(np.mean(v))) for step, v in sorted(by_step.items()) if len(v) == len(curves)]
    return full or curves[0]


def _label_ends(axis: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Label lines beside the panel, or short ones at their ends, pushed apart where labels would overlap."""
    axis.margins(x=0.04)
    axis.autoscale_view()
    to_axes = axis.transData + axis.transAxes.inverted()
    placed = sorted(
        ((*to_axes.transform((x, y)), text, color) for x, y, text, color in ends), key=lambda end: end[1]
    )
    for short in (True, False):
        group = [end for end in placed if (end[0] < SHORT) == short]
        heights: list[float] = []
        for _, y, _, _ in group:
            heights.append(max(min(y, 0.98), heights[-1] + 0.062 if heights else 0.0))
        overflow = max(heights[-1] - 1.0, 0) if heights else 0.0
        for (x, _, text, color), y in zip(group, heights):
            position = (x + 0.03 if short else 1.01, y - overflow)
            axis.annotate(text, position, xycoords="axes fraction", color=color, va="center", fontsize=8.5)
