"""Frames a page in a single file: light and dark, from 360 pixels on, readable by keyboard and without scripts."""

from __future__ import annotations

import html
from collections.abc import Sequence

STYLE = """
:root{color-scheme:light dark;--ink:#1d2329;--quiet:#5c636c;--line:#dfe3e7;--ground:#fff;--soft:#f4f5f6;--link:#1f5fa8;
--c0:#1f5fa8;--c1:#b3541e;--c2:#2c7a3f;--c3:#8a3fa0;--c4:#8a6d00;--c5:#0b7a80;--c6:#b3261e;--c7:#5c636c}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ea;--quiet:#9aa3ad;--line:#3a4149;--ground:#16191d;--soft:#21262c;
--link:#7db4f0;--c0:#6aa9ee;--c1:#f0955a;--c2:#6cc483;--c3:#cf90e2;--c4:#d9bb4a;--c5:#56c5cb;--c6:#f08a82;--c7:#9aa3ad}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);
max-width:75rem;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0 0 .2rem;overflow-wrap:anywhere} h2{font-size:1.1rem;margin:2rem 0 .6rem}
a{color:var(--link)} .quiet{color:var(--quiet)}
code{background:var(--soft);padding:.1rem .3rem;border-radius:3px;font-size:.88em;overflow-wrap:anywhere}
.wide{overflow-x:auto;max-width:100%} .wide:focus-visible{outline:2px solid var(--link);outline-offset:2px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
td,th{padding:.3rem .8rem .3rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
thead th{white-space:nowrap} td.num,th.num{text-align:right;white-space:nowrap;padding:.3rem 0 .3rem 1.2rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem}
figure{margin:0} figcaption{font-weight:600;font-size:.9rem} svg{width:100%;height:auto;display:block}
svg text{fill:var(--quiet);font:11px system-ui,sans-serif;paint-order:stroke;stroke:var(--ground);stroke-width:3px}
svg .grid{stroke:var(--line)} svg .end{font-weight:600;fill:var(--ink)}
.key{list-style:none;padding:0;margin:0 0 1rem;display:flex;flex-wrap:wrap;gap:.3rem 1.5rem;font-size:.9rem}
.key svg{display:inline-block;width:2.6rem;height:.8rem;vertical-align:middle;margin-right:.4rem}
"""


def sheet(title: str, parts: Sequence[str], style: str = "", script: str = "") -> str:
    """Return a page with everything in it: it asks no network for anything."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}{style}</style></head>"
        f"<body>{''.join(parts)}{f'<script>{script}</script>' if script else ''}</body></html>"
    )


def table(name: str, header: Sequence[str], rows: Sequence[Sequence[str]], numeric: bool = False) -> str:
    """Return a table of texts that scrolls by itself; the first cell of each row is its header.

    Args:
        name: what the table shows, for readers who do not see it.
        header: the columns.
        rows: their cells, as plain text.
        numeric: whether all columns but the first are aligned to the right.
    """
    kind = ' class="num"' if numeric else ""
    head = "".join(
        f'<th scope="col"{kind if number else ""}>{html.escape(cell)}</th>'
        for number, cell in enumerate(header)
    )
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td{kind}>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{html.escape(name)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
