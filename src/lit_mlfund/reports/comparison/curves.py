"""Draws learning curves as SVG; curves are told apart by letter and dashes, and only then by colour."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lit_mlfund.reports.tables import number

_DASHES = ("", "7 3", "2 3", "10 3 2 3")
_COLOURS = 8  # --c0 … --c7 of the page
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 520, 260, 58, 26, 10, 26


@dataclass(frozen=True)
class Curve:
    """Holds the points of one curve and the number of the column that it belongs to."""

    column: int
    points: list[tuple[float, float]]


def letter(column: int) -> str:
    """Return the letter of a column: A … Z, AA, AB, …."""
    return (letter(column // 26 - 1) if column >= 26 else "") + chr(65 + column % 26)


def key_line(column: int) -> str:
    """Return a short piece of the line of a column, for the key of the charts."""
    return f'<svg viewBox="0 0 40 8" aria-hidden="true"><line x1="0" y1="4" x2="40" y2="4" {_stroke(column)}/></svg>'


def chart(title: str, curves: Sequence[Curve], unit: str) -> str:
    """Return a figure with curves laid over each other, its axes from the smallest to the largest value.

    Args:
        title: the value that is shown.
        curves: the curves; those without points are left out.
        unit: what the horizontal axis counts.
    """
    drawn = [curve for curve in curves if curve.points]
    points = [point for curve in drawn for point in curve.points]
    if not points:
        return ""
    across, up = _Axis([x for x, _ in points]), _Axis([y for _, y in points])
    parts = []
    for tick in up.ticks:
        y = _y(up, tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    for tick in across.ticks:
        x, y = _x(across, tick), _HEIGHT - 8
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{number(tick)}</text>')
    ends: list[tuple[float, float, int]] = []
    for curve in drawn:
        place = [(_x(across, x), _y(up, y)) for x, y in curve.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in place)
        if len(place) == 1:
            x, y = place[0]
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var(--c{curve.column % _COLOURS})"/>'
            )
        else:
            parts.append(f'<polyline fill="none" points="{line}" {_stroke(curve.column)}/>')
        ends.append((*place[-1], curve.column))
    parts += _letters(ends)
    told = "; ".join(
        f"{letter(curve.column)} from {number(curve.points[0][1])} to {number(curve.points[-1][1])}"
        for curve in drawn
    )
    text = html.escape(f"{title} by {unit}: {told}")
    return (
        f'<figure><figcaption>{html.escape(title)} <span class="quiet">by {unit}</span></figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text}">{"".join(parts)}</svg></figure>'
    )


class _Axis:
    """Holds the range of an axis, and round numbers in it."""

    def __init__(self, values: Sequence[float], most: int = 5):
        self.low, self.high = min(values), max(values)
        if self.low == self.high:
            room = abs(self.low) * 0.1 or 1.0
            self.low, self.high = self.low - room, self.high + room
        step = 10 ** math.floor(math.log10((self.high - self.low) / most))
        step *= next(
            factor for factor in (1, 2, 5, 10, 20) if (self.high - self.low) / (step * factor) <= most
        )
        first = math.ceil(self.low / step - 1e-9)
        self.ticks = [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def _x(axis: _Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: _Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.share(value) * (_HEIGHT - _TOP - _BOTTOM)


def _stroke(column: int) -> str:
    dashes = _DASHES[column % len(_DASHES)]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'stroke="var(--c{column % _COLOURS})" stroke-width="2"{dashed}'


def _letters(ends: list[tuple[float, float, int]]) -> list[str]:
    """Return the letters behind the curves, moved apart where they would lie on each other."""
    parts, lowest = [], -math.inf
    for x, y, column in sorted(ends, key=lambda end: end[1]):
        lowest = max(y, lowest + 11)
        parts.append(f'<text class="end" x="{x + 4:.1f}" y="{lowest + 4:.1f}">{letter(column)}</text>')
    return parts
