"""Formats the run card: one HTML page with the data, the results, the findings and the configuration."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_mlfund.reports.data_text import size_text, target_text
from lit_mlfund.reports.holes import Holes
from lit_mlfund.reports.results import result_table, table_notes
from lit_mlfund.reports.run_files import read_json, shown_paths, typed_command
from lit_mlfund.reports.tables import number

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
pre{white-space:pre-wrap;overflow-wrap:anywhere} .wide{overflow-x:auto} .wide td,.wide th{white-space:nowrap}
.facts th,.facts td{text-align:left;vertical-align:top;overflow-wrap:anywhere}
.facts th{font-weight:600;white-space:nowrap}
.hole{border-left:4px solid #8a8f98;padding:.2rem 1rem;margin:.8rem 0;background:#f4f5f6}
"""


@dataclass(frozen=True)
class Picture:
    """Holds a picture as a PNG file, its name and what is to be said below it."""

    name: str
    png: bytes
    caption: str = ""


def page(
    run_dir: Path,
    result: dict[str, Any],
    metrics: dict[str, Any],
    pictures: Sequence[Picture],
    holes: Holes,
) -> str:
    """Format the page of the run in `run_dir`; `holes` are the parts that could not be made, and are named."""
    provenance = read_json(run_dir / "provenance.json")
    findings = read_json(run_dir / "findings.json") or []
    objective = result["objective"]
    parts = [
        f"<h1>{html.escape(run_dir.name)}</h1>",
        f'<p class="quiet">{html.escape(provenance["task"])} · {html.escape(provenance["started"])} · '
        f"{result['seconds']:.0f} s · seed {provenance['seed']} · {provenance['num_parameters']:,} parameters</p>",
        _facts(run_dir, provenance),
        f"<p>Best <b>{html.escape(objective['name'])} {number(objective['value'])}</b>.</p>",
        "<h2>Verdict</h2>",
        *([_finding(finding) for finding in findings] or ["<p>No problems found.</p>"]),
    ]
    if metrics:
        parts += ["<h2>Test split, 95 % intervals</h2>", f'<div class="wide">{_table(metrics)}</div>']
    parts += [f'<p class="hole">{html.escape(line)}</p>' for line in holes.lines()]
    parts += map(_figure, pictures)
    sample = run_dir / "predictions" / "sample.txt"
    if sample.exists():
        text = html.escape(sample.read_text(encoding="utf-8"))
        parts += ["<h2>A text drawn from the model</h2>", f"<pre>{text}</pre>"]
    parts += ["<h2>Data</h2>", f"<pre>{html.escape(_plain(provenance['data']))}</pre>"]
    config = (run_dir / "run.yaml").read_text(encoding="utf-8")
    parts += ["<h2>Configuration</h2>", f"<pre>{html.escape(config)}</pre>"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(run_dir.name)}</title>'
        f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _facts(run_dir: Path, provenance: dict[str, Any]) -> str:
    """Format the table of what a reader asks first: data, target, split, command."""
    data = provenance["data"]
    facts = {
        "data": [*shown_paths(provenance), size_text(data), size_text(data, "queries")],
        "target": [target_text(provenance["task"], data)],
        "notes": list(data.get("notes", [])),
    }
    rows = [
        f"<tr><th>{name}</th><td>{'<br>'.join(html.escape(line) for line in lines if line)}</td></tr>"
        for name, lines in facts.items()
        if any(lines)
    ]
    if command := typed_command(run_dir):
        rows.append(f"<tr><th>command</th><td><code>{html.escape(command)}</code></td></tr>")
    return f'<table class="facts">{"".join(rows)}</table>'


def _figure(picture: Picture) -> str:
    encoded = base64.b64encode(picture.png).decode()
    title = html.escape(picture.name.replace("_", " "))
    caption = f'<p class="quiet">{html.escape(picture.caption)}</p>' if picture.caption else ""
    return f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{encoded}">{caption}'


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
    missing = "".join(f'<p class="quiet">{html.escape(line)}</p>' for line in table_notes(metrics))
    return f"<table><tr>{head}</tr>{body}</table>{missing}"


def _plain(value: Any) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(value)) if value else ""
