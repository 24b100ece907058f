"""Formats a comparison of runs as a page in a single file: what differs, the metrics, the learning curves."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from pathlib import Path

from lit_mlfund.reports.comparison.compare import Comparison
from lit_mlfund.reports.comparison.compare_text import interval_text, kinds, labels, metrics_table, notes
from lit_mlfund.reports.comparison.curves import Curve, chart, key_line, letter
from lit_mlfund.reports.comparison.run_table import short_name
from lit_mlfund.reports.comparison.sheet import sheet, table

_FIRST = ("train/loss", "val/loss")


def compare_page(comparison: Comparison, folder: Path) -> str:
    """Return the page, which lies in `folder` and links to the cards of the runs."""
    names = labels(comparison)
    header, rows = metrics_table(comparison, interval_text)
    parts = [f"<h1>{len(names)} {'groups of runs' if comparison.over else 'runs'} compared</h1>"]
    parts += [f'<p class="quiet">{html.escape(line)}</p>' for line in notes(comparison)]
    parts.append(f'<ul class="key">{"".join(_key(comparison, folder))}</ul>')
    parts.append("<h2>Test split</h2>")
    if rows:
        parts.append(table("metrics of the test split", header, rows, numeric=True))
        parts.append(f'<p class="quiet">{_explained(comparison)}</p>')
    else:
        parts.append("<p>None of them was measured.</p>")
    for title, told in kinds(comparison):
        if told:
            parts.append(f"<h2>{title.capitalize()}</h2>")
            parts.append(
                table(f"{title} that differs", ["", *names], [[key, *texts] for key, texts in told.items()])
            )
    charts = "".join(_charts(comparison))
    if charts:
        parts.append(f'<h2>Learning curves</h2><div class="charts">{charts}</div>')
    return sheet(", ".join(names[:4]), parts)


def _explained(comparison: Comparison) -> str:
    paired = (
        f"paired over {' and '.join(comparison.over)}" if comparison.over else "paired over the test rows"
    )
    around = "± standard deviation" if comparison.over else "with 95 % intervals"
    return html.escape(
        f"Values {around}. Differences are {paired}, with 95 % intervals: better or worse "
        "where they exclude 0."
    )


def _key(comparison: Comparison, folder: Path) -> Iterator[str]:
    for column, (name, members) in enumerate(zip(labels(comparison), comparison.members)):
        told = " ".join(
            f"{key}={texts[column]}" for key, texts in comparison.given.items() if texts[column] != "–"
        )
        runs = []
        for record in members:
            card = record.folder / "report.html"
            text = html.escape(short_name(record))
            link = html.escape(os.path.relpath(card, folder))
            runs.append(f'<a href="{link}">{text}</a>' if card.is_file() else text)
        title = f"<b>{html.escape(name)}</b>:" if comparison.over else f"<b>{letter(column)}</b>"
        yield (
            f"<li>{key_line(column)}{title} {', '.join(runs)} "
            f'<span class="quiet">{html.escape(told)}</span></li>'
        )


def _charts(comparison: Comparison) -> Iterator[str]:
    """Yield a chart for each value that any run logged by epoch: losses first, then the monitored ones."""
    logged = dict.fromkeys(
        name for runs in comparison.curves for history in runs for entry in history for name in entry
    )
    monitored = [members[0].objective[0] for members in comparison.members]
    first = [name for name in dict.fromkeys([*_FIRST, *monitored]) if name in logged]
    rest = [name for name in logged if name not in (*first, "epoch", "step") and name.startswith("val/")]
    for name in [*first, *rest]:
        curves = [
            Curve(
                column,
                [(entry["epoch"], entry[name]) for entry in history if name in entry and "epoch" in entry],
            )
            for column, runs in enumerate(comparison.curves)
            for history in runs
        ]
        yield chart(name, curves, "epoch")
