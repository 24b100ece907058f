"""Writes the run card: one HTML file with the configuration, the results and the findings."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from lit_mlfund.atomic import write_bytes, write_text
from lit_mlfund.reports.terminal import number, result_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2329;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem} h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
td,th{padding:.3rem .8rem;text-align:right;border-bottom:1px solid #e6e8eb}
td:first-child,th:first-child{text-align:left}
.finding{border-left:4px solid #d1742f;padding:.2rem 1rem;margin:.8rem 0;background:#fbf6f2}
.finding.error{border-color:#b3261e} .finding.info{border-color:#2f6db3;background:#f3f7fb}
code,pre{background:#f4f5f6;padding:.1rem .3rem;border-radius:3px;font-size:.88em}
pre{padding:1rem;overflow:auto} img{max-width:100%} .quiet{color:#6a7079}
"""


def write_card(run_dir: Path) -> Path:
    """Write `report.html` and the pictures from the files of a finished run and return the page's path.

    The pictures are also written to `pictures/*.png`, for slides and for TensorBoard.
    """
    from lit_mlfund.reports.pictures import (
        pictures,
    )  # matplotlib: too slow for the start of a run

    result = _read(run_dir / "result.json")
    metrics = _read(run_dir / "metrics.json")
    provenance = _read(run_dir / "provenance.json")
    findings = _read(run_dir / "findings.json") or []
    figures: dict[str, Figure] = {}
    if metrics:
        predictions = pl.read_parquet(run_dir / "predictions" / "test.parquet", glob=False)
        metric = result["objective"]["name"].removeprefix("val/")
        figures = pictures(provenance["figures"], predictions, metrics, metric)
    page = run_dir / "report.html"
    images = save_pictures(figures, run_dir / "pictures")
    write_text(page, _page(result, metrics, provenance, findings, images, run_dir))
    return page


def save_pictures(figures: dict[str, Figure], folder: Path) -> dict[str, bytes]:
    """Write every figure as PNG and return name -> the file's bytes; the figures are cleared for reuse."""
    from lit_mlfund.reports.figures import recycle

    folder.mkdir(exist_ok=True)
    images = {}
    for name, figure in figures.items():
        images[name] = png(figure)
        write_bytes(folder / f"{name}.png", images[name])
        recycle(figure)
    return images


def png(figure: Figure) -> bytes:
    """Render the same picture as `figure.savefig`, which would draw twice: for the layout and for the file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # the figure is opaque
    buffer = io.BytesIO()
    image.save(buffer, "png", dpi=(figure.dpi, figure.dpi), compress_level=3)
    return buffer.getvalue()


def _page(
    result: dict[str, Any],
    metrics: dict[str, Any],
    provenance: dict[str, Any],
    findings: list[dict[str, Any]],
    images: dict[str, bytes],
    run_dir: Path,
) -> str:
    objective = result["objective"]
    parts = [
        f"<h1>{html.escape(run_dir.name)}</h1>",
        f'<p class="quiet">{html.escape(provenance["task"])} · {html.escape(provenance["started"])} · '
        f"{result['seconds']:.0f} s · seed {provenance['seed']} · {provenance['num_parameters']:,} parameters</p>",
        f"<p>Best <b>{html.escape(objective['name'])} {number(objective['value'])}</b>.</p>",
        "<h2>Verdict</h2>",
        *([_finding(finding) for finding in findings] or ["<p>No problems found.</p>"]),
    ]
    if metrics:
        parts += ["<h2>Test split, 95 % intervals</h2>", _table(metrics)]
    for name, image in images.items():
        encoded = base64.b64encode(image).decode()
        title = html.escape(name.replace("_", " "))
        parts.append(f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{encoded}">')
    sample = run_dir / "predictions" / "sample.txt"
    if sample.exists():
        parts += ["<h2>A text drawn from the model</h2>", f"<pre>{html.escape(sample.read_text())}</pre>"]
    parts += ["<h2>Data</h2>", f"<pre>{html.escape(_plain(provenance['data']))}</pre>"]
    parts += ["<h2>Configuration</h2>", f"<pre>{html.escape((run_dir / 'run.yaml').read_text())}</pre>"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(run_dir.name)}</title>'
        f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _finding(finding: dict[str, Any]) -> str:
    fixes = " or ".join(f"<code>{html.escape(fix)}</code>" for fix in finding["fixes"])
    fixes = f"<br>Try {fixes}." if fixes else ""
    excluded = "".join(
        f'<br><span class="quiet">not {html.escape(rival)}: {html.escape(reason)}</span>'
        for rival, reason in finding["ruled_out"].items()
    )
    return (
        f'<div class="finding {html.escape(finding["severity"])}"><b>{html.escape(finding["name"])}</b> '
        f"{html.escape(finding['symptom'])}{fixes}{excluded}</div>"
    )


def _table(metrics: dict[str, Any]) -> str:
    header, rows = result_table(metrics)
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _plain(value: Any) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(value)) if value else ""


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}
