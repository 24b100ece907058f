"""Writes what a person reads on a terminal: the data of a run, its results, its findings, and how to go on."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lit_mlfund.reports.data_text import budget_text, facts_lines
from lit_mlfund.reports.results import result_table, table_notes
from lit_mlfund.reports.run_files import read_json
from lit_mlfund.reports.tables import CUT, fitting_table, number
from lit_mlfund.startup.streams import OUTPUT

COUNTED = ("rows", "queries", "characters", "windows")  # what `Run.evaluate` counts
_SEVERITY_STYLES = {"error": "red", "warning": "yellow", "info": "bold"}


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]], rest: str = "in the report") -> str:
    """Format a table for the stream that people read: within its width, with its characters, its header in bold.

    Args:
        header: the columns, the most important ones first: those that do not fit are left out from the right.
        rows: their cells.
        rest: where the columns are that are left out.
    """
    screen = OUTPUT.screen
    cut = CUT if screen.plain(CUT) == CUT else "~"
    plain = [[screen.plain(cell) for cell in row] for row in (header, *rows)]
    head, line, body = fitting_table(plain[0], plain[1:], screen.width, rest, cut).partition("─")
    head = "\n".join(screen.style("bold", text) for text in head.splitlines())
    return f"{head}\n{line}{body}"


def wrap(line: str, width: int | None = None, max_lines: int = 4) -> str:
    """Break a line at blanks, with an indent of its own for what follows; the run card has what is cut off.

    Without `width` it fits the stream that people read.
    """
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(
        line.strip(),
        OUTPUT.screen.text_width if width is None else width,
        initial_indent=indent,
        subsequent_indent=indent + "    ",
        max_lines=max_lines,
        placeholder=" …",
        break_long_words=False,
        break_on_hyphens=False,
    )


def facts_text(task: str, data: dict[str, Any]) -> str:
    """Format the data as they were interpreted, for the name of a task and the summary of a data module."""
    return "\n".join(map(wrap, facts_lines(task, data)))


def start_text(run_dir: Path, facts: bool = True) -> str:
    """Format the text shown before training starts: the data as they were interpreted, the model, the folder.

    Without `facts` it leaves out the data, which an earlier run has told.
    """
    provenance = read_json(run_dir / "provenance.json")
    lines = [facts_text(provenance["task"], provenance["data"])] if facts else []
    lines.append(wrap(f"model  {provenance['num_parameters']:,} parameters"))
    if plan := provenance.get("budget"):
        lines.append(wrap(f"train  {budget_text(plan)}"))
    return "\n".join([*lines, f"run    {_shown(run_dir)}"])


def run_text(run_dir: Path, remarks: Iterable[str] = (), trust: Iterable[str] = ()) -> str:
    """Format the text shown at the end of a run: the table of results, the findings, and lines to paste.

    Args:
        run_dir: the run folder; of a run that was stopped there may be nothing to show.
        remarks: further lines, on what is missing.
        trust: the packages of others that the run names.
    """
    metrics, findings = read_json(run_dir / "metrics.json"), read_json(run_dir / "findings.json")
    parts = []
    if "splits" in metrics:
        rest = "in the report" if (run_dir / "report.html").exists() else "in metrics.json"
        parts += ["", metrics_text(metrics, rest), *map(wrap, table_notes(metrics)), ""]
    if findings or "splits" in metrics:
        parts.append(findings_text(findings))
    parts += remarks
    ended = read_json(run_dir / "result.json").get("status", "done") == "done"
    if ended and not OUTPUT.quiet:
        parts += _next_steps(run_dir, trust)
    return "\n".join(parts)


def metrics_text(metrics: dict[str, Any], rest: str = "in the report") -> str:
    """Format the table of the test split, with what a calibrated model would show beside the calibration error."""
    header, rows = result_table(metrics)
    test = metrics["splits"]["test"]
    if not {"ece", "ece_null"} <= test.keys():
        return table_text(header, rows, rest)
    table = table_text(header, [row for row in rows if row[0] != "ece_null"], rest)
    ece, null = (number(test[name]["value"]) for name in ("ece", "ece_null"))
    return f"{table}\n{wrap(f'ece {ece} ({null} if calibrated)')}"


def findings_text(findings: list[dict[str, Any]]) -> str:
    """Format findings: a line for each, and the overrides to try."""
    screen, parts = OUTPUT.screen, []
    for finding in findings:
        severity = finding["severity"]
        text = wrap(f"{severity}: {finding['name']}: {finding['symptom']}", max_lines=12)
        parts.append(screen.style(_SEVERITY_STYLES[severity], severity) + text.removeprefix(severity))
        parts += [f"    try {fix}" for fix in finding["fixes"]]
    return "\n".join(parts or [screen.style("green", "verdict: no problems found")])


def _next_steps(run_dir: Path, trust: Iterable[str]) -> Iterator[str]:
    """Yield the lines to paste behind a run: its report, how to predict with it, how to see its curves."""
    if (report := run_dir / "report.html").exists():
        yield f"report: {_shown(report)}"
    if (run_dir / "checkpoints" / "best.ckpt").exists():
        words = [f"run={_shown(run_dir)}", "data.path=FILE"]
        words += [word for name in trust for word in ("--trust", name)]
        yield shlex.join(["mlfund", "predict", *words])
    if (events := run_dir / "tensorboard").is_dir():
        yield shlex.join(["tensorboard", "--logdir", _shown(events)])


def _shown(path: Path) -> str:
    """Return a path as short as it works in the folder in which the command was given."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def evaluation_text(result: dict[str, Any]) -> str:
    """Format what `mlfund evaluate` has measured: the rows, then every metric with its interval.

    Args:
        result: as `Run.evaluate` returns it.
    """
    place = result.get("path") or f"{result.get('split')} split"
    metrics = {"splits": {"test": result.get("metrics", {})}, "references": {}}
    return "\n".join([*_counted_lines(place, result), "", metrics_text(metrics, "with --json"), ""])


def prediction_text(result: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Format what `mlfund predict` has written: the file, and its first rows, the predictions first.

    Args:
        result: as `Run.predict_to` returns it.
        rows: the first rows of the file.
    """
    output = Path(result["output"])
    lines = _counted_lines(_shown(output), result)
    if rows:
        columns = [*result["columns"], *(name for name in rows[0] if name not in result["columns"])]
        cells = [[_cell(row[name]) for name in columns] for row in rows]
        lines += ["", table_text(columns, cells, f"in {output.name}"), ""]
    return "\n".join(lines)


def _counted_lines(place: str, result: dict[str, Any]) -> list[str]:
    counts = "  ".join(f"{result[unit]:,} {unit}" for unit in COUNTED if isinstance(result.get(unit), int))
    notes = [f"{name} {count}" for name, count in (result.get("notes") or {}).items() if count]
    return [wrap(f"{place}  {counts}"), *([wrap(f"  {', '.join(notes)}")] if notes else [])]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return "–" if value is None else " ".join(textwrap.shorten(str(value), 24, placeholder=" …").split())


def lr_find_text(result: dict[str, Any]) -> str:
    """Format what `mlfund lr-find` has found: the rates, the override to paste with its reason, the picture.

    Args:
        result: as `run_lr_find` returns it.
    """
    rates = {
        "recommended": result["lr"],
        "loss falls fastest": result["steepest_at"],
        "loss is lowest": result["lowest_at"],
    }
    table = table_text(["", "learning rate"], [[name, f"{rate:.2g}"] for name, rate in rates.items()])
    lines = [wrap(f"{result['override']}  ({result['reason']})"), _shown(Path(result["picture"]))]
    return "\n".join([table, "", *lines])
