"""Draws runs by their settings as SVG: the value against each setting, and all settings as parallel coordinates."""

from __future__ import annotations

import html
from collections.abc import Sequence

from lit_mlfund.reports.comparison.board import Axis, Board
from lit_mlfund.reports.comparison.run_table import short_name
from lit_mlfund.reports.tables import clip, number

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 520, 240, 58, 16, 10, 26
_BEST = 0.1  # share of the runs that are drawn as the best ones
_MOST_AXES = 8


def against(board: Board, key: str) -> str:
    """Return a figure with the value of each run against one setting; runs without either are left out."""
    values = _values(board)
    points = [
        (place, value, short_name(record))
        for place, value, record in zip(board.axis(key).places, board.values, board.records)
        if place is not None and value is not None
    ]
    if not points:
        return ""
    parts = []
    for at, text in values.ticks:
        y = _up(at)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for at, text in board.axis(key).ticks:
        x = _LEFT + 12 + at * (_WIDTH - _LEFT - _RIGHT - 24)
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{html.escape(clip(text, 14))}</text>'
        )
    for place, value, name in points:
        x, y = _LEFT + 12 + place * (_WIDTH - _LEFT - _RIGHT - 24), _up(values.at(value))
        told = html.escape(f"{name}: {number(value)}")
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="var(--c0)" fill-opacity=".6"><title>{told}</title></circle>'
        )
    text = html.escape(f"{board.column} against {key}, {len(points)} runs")
    return (
        f'<figure><figcaption>{html.escape(board.column)} <span class="quiet">against</span> {html.escape(key)}'
        f'</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text}">{"".join(parts)}'
        "</svg></figure>"
    )


def parallel(board: Board) -> str:
    """Return a figure with a line for each run through its settings and its value; the best ones are thick."""
    keys = board.varied[:_MOST_AXES]
    rows = [row for row, value in enumerate(board.values) if value is not None]
    if not keys or len(rows) < 2:
        return ""
    values = _values(board)
    axes: list[tuple[str, Axis | _Values]] = [
        *((key, board.axis(key)) for key in keys),
        (board.column, values),
    ]
    step = (_WIDTH * 2 - 160) / len(keys)
    parts = []
    best = max(1, round(len(rows) * _BEST))
    for rank, row in reversed(list(enumerate(rows))):
        line = []
        for column, key in enumerate(keys):
            place = board.axis(key).places[row]
            line.append(f"{80 + column * step:.1f},{_up(-0.08 if place is None else place):.1f}")
        value = board.values[row]
        assert value is not None
        line.append(f"{80 + len(keys) * step:.1f},{_up(values.at(value)):.1f}")
        style = (
            'stroke="var(--c1)" stroke-width="2.5"'
            if rank < best
            else 'stroke="var(--c0)" stroke-width="1" stroke-opacity=".45"'
        )
        told = html.escape(f"{short_name(board.records[row])}: {number(value)}")
        parts.append(
            f'<polyline fill="none" points="{" ".join(line)}" {style}><title>{told}</title></polyline>'
        )
    for column, (name, axis) in enumerate(axes):
        x = 80 + column * step
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_up(0):.1f}" y2="{_up(1):.1f}"/>')
        parts.append(
            f'<text class="end" x="{x:.1f}" y="{_HEIGHT + 14}" text-anchor="middle">'
            f"{html.escape(clip(name, 24))}</text>"
        )
        for at, text in axis.ticks:
            parts.append(f'<text x="{x + 5:.1f}" y="{_up(at) + 4:.1f}">{html.escape(clip(text, 14))}</text>')
    return (
        f"<figure><figcaption>The best {best} of {len(rows)} runs are thick"
        f'<span class="quiet">; lines below an axis were not given that setting</span></figcaption>'
        f'<div class="wide" role="region" tabindex="0" aria-label="parallel coordinates"><svg class="broad" '
        f'viewBox="0 0 {_WIDTH * 2} {_HEIGHT + 24}" role="img" aria-label="settings and value of {len(rows)} runs">'
        f"{''.join(parts)}</svg></div></figure>"
    )


class _Values:
    """Places the values of runs between the smallest and the largest."""

    def __init__(self, values: Sequence[float]):
        self.low, self.high = min(values), max(values)
        middle = (self.low + self.high) / 2
        shown = (self.low, middle, self.high) if self.low < self.high else (self.low,)
        self.ticks = [(self.at(value), number(value)) for value in shown]

    def at(self, value: float) -> float:
        return 0.5 if self.low == self.high else (value - self.low) / (self.high - self.low)


def _values(board: Board) -> _Values:
    return _Values([value for value in board.values if value is not None] or [0.0])


def _up(place: float) -> float:
    return _HEIGHT - _BOTTOM - 8 - place * (_HEIGHT - _TOP - _BOTTOM - 16)
