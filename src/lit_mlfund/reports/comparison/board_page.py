"""Formats a leaderboard as a page in a single file: a table to sort and filter, settings, curves, importance."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from pathlib import Path

from lit_mlfund.reports.comparison.board import Board
from lit_mlfund.reports.comparison.compare import history
from lit_mlfund.reports.comparison.curves import Curve, chart, key_line, letter
from lit_mlfund.reports.comparison.importance import FEWEST_RUNS, importance
from lit_mlfund.reports.comparison.run_table import short_name
from lit_mlfund.reports.comparison.settings_charts import against, parallel
from lit_mlfund.reports.comparison.sheet import sheet
from lit_mlfund.reports.tables import number

_CURVES = 8  # of the best runs
_STYLE = """
th button{all:unset;cursor:pointer;font-weight:600}
th button:focus-visible,input:focus-visible{outline:2px solid var(--link)}
th button::after{content:" ↕";color:var(--quiet)} th[aria-sort=ascending] button::after{content:" ↑"}
th[aria-sort=descending] button::after{content:" ↓"}
input{font:inherit;color:inherit;background:var(--soft);border:1px solid var(--line);border-radius:3px;
padding:.3rem .5rem}
.bar{display:inline-block;height:.7rem;background:var(--c0);margin-right:.5rem} svg.broad{min-width:44rem}
.board{max-height:34rem;overflow:auto} .board thead th{position:sticky;top:0;background:var(--ground);z-index:1}
.board tbody th{font-weight:400} .board td,.board tbody th{white-space:nowrap} td.num{padding:.3rem .8rem .3rem 0}
"""
_SCRIPT = """
const table=document.querySelector("table"),body=table.tBodies[0],rows=[...body.rows];
const filter=document.querySelector("input"),count=document.querySelector("output");
table.querySelectorAll("th button").forEach((button,column)=>button.addEventListener("click",()=>{
 const head=button.parentElement,down=head.getAttribute("aria-sort")==="ascending";
 table.querySelectorAll("thead th").forEach(other=>other.removeAttribute("aria-sort"));
 head.setAttribute("aria-sort",down?"descending":"ascending");
 const value=row=>row.cells[column].dataset.v??row.cells[column].textContent;
 rows.sort((a,b)=>{const x=value(a),y=value(b);
  if(x===""||y==="")return (x==="")-(y==="");
  const order=isNaN(x)||isNaN(y)?x.localeCompare(y):x-y;return down?-order:order});
 body.append(...rows)}));
filter.addEventListener("input",()=>{
 const words=filter.value.toLowerCase().split(/\\s+/);let shown=0;
 for(const row of rows){const text=row.textContent.toLowerCase();
  row.hidden=!words.every(word=>text.includes(word));shown+=!row.hidden}
 count.textContent=shown+" of "+rows.length+" runs"});
"""


def board_page(board: Board, title: str, folder: Path) -> str:
    """Return the page, which lies in `folder` and links to the cards of the runs."""
    better = "higher" if board.mode == "max" else "lower"
    total = len(board.records)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="quiet">{total} runs by {html.escape(board.column)}, {better} is better</p>',
        '<p><label>Filter <input type="search"></label> '
        f'<output aria-live="polite">{total} of {total} runs</output></p>',
        _table(board, folder),
    ]
    if found := importance(board):
        parts += ["<h2>Importance of the settings</h2>", _bars(found)]
    elif board.varied:
        parts.append(
            f'<p class="quiet">The importance of settings needs {FEWEST_RUNS} runs that differ in value.</p>'
        )
    if lines := parallel(board):
        parts += ["<h2>All settings</h2>", lines]
    if points := "".join(against(board, key) for key in board.varied):
        parts.append(f'<h2>Each setting</h2><div class="charts">{points}</div>')
    if curves := "".join(_curves(board)):
        shown = min(_CURVES, total)
        parts.append(f"<h2>Learning curves of the best {shown}</h2>")
        parts.append(f'<ul class="key">{"".join(_key(board))}</ul><div class="charts">{curves}</div>')
    return sheet(title, parts, _STYLE, _SCRIPT)


def _table(board: Board, folder: Path) -> str:
    header = ["rank", "run", *board.varied, board.column, *(f"test/{metric}" for metric in board.metrics)]
    header = [*dict.fromkeys(header), "seconds", "status", "findings"]
    head = "".join(
        f'<th scope="col"><button type="button">{html.escape(name)}</button></th>' for name in header
    )
    body = "".join(_row(board, row, header, folder) for row in range(len(board.records)))
    return (
        '<div class="wide board" role="region" tabindex="0" aria-label="runs"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(board: Board, row: int, header: list[str], folder: Path) -> str:
    record, settings = board.records[row], board.settings[row]
    card = record.folder / "report.html"
    name = html.escape(short_name(record))
    link = html.escape(os.path.relpath(card, folder))
    run = f'<a href="{link}">{name}</a>' if card.is_file() else name
    told = [f"<td>{row + 1}</td>", f'<th scope="row">{run}</th>']
    for column in header[2:-2]:
        if column in board.varied:
            told.append(f"<td>{html.escape(settings.get(column, ''))}</td>")
        else:
            value = record.value(column)
            sorted_by = "" if value is None else repr(value)
            told.append(
                f'<td class="num" data-v="{sorted_by}">{number(value)}{_interval(board, row, column)}</td>'
            )
    told += [f"<td>{html.escape(record.status)}</td>", f"<td>{html.escape(' '.join(record.findings))}</td>"]
    return f"<tr>{''.join(told)}</tr>"


def _interval(board: Board, row: int, column: str) -> str:
    entry = board.records[row].test.get(column.removeprefix("test/"), {})
    low, high = entry.get("low"), entry.get("high")
    if not column.startswith("test/") or low is None or high is None or low == high:
        return ""
    return f' <span class="quiet">{number(low)} … {number(high)}</span>'


def _bars(found: dict[str, float]) -> str:
    most = max([*found.values(), 1e-12])
    rows = "".join(
        f'<tr><th scope="row">{html.escape(key)}</th>'
        f'<td><span class="bar" style="width:{max(value, 0) / most * 12:.2f}rem"></span>{value:.2f}</td></tr>'
        for key, value in found.items()
    )
    return (
        f"<table><tbody>{rows}</tbody></table>"
        '<p class="quiet">How much R² a random forest on the settings loses where one of them is shuffled.</p>'
    )


def _curves(board: Board) -> Iterator[str]:
    logged = [history(record) for record in board.records[:_CURVES]]
    monitored = dict.fromkeys(record.objective[0] for record in board.records[:_CURVES])
    for name in dict.fromkeys(["train/loss", "val/loss", *monitored]):
        yield chart(
            name,
            [
                Curve(
                    column,
                    [(entry["epoch"], entry[name]) for entry in told if name in entry and "epoch" in entry],
                )
                for column, told in enumerate(logged)
            ],
            "epoch",
        )


def _key(board: Board) -> Iterator[str]:
    for column, (record, settings) in enumerate(zip(board.records[:_CURVES], board.settings)):
        told = " ".join(f"{key}={settings[key]}" for key in board.varied if key in settings)
        yield (
            f"<li>{key_line(column)}<b>{letter(column)}</b> {html.escape(short_name(record))} "
            f'<span class="quiet">{html.escape(told)}</span></li>'
        )
