"""Lays out runs as a table: what each was given, what came out, how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lit_mlfund.reports.tables import cells, clip, format_table, number
from lit_mlfund.run_folders.groups import Group, Spread, common, spread
from lit_mlfund.run_folders.record import Record
from lit_mlfund.run_folders.search import stamp_of

Table = tuple[list[str], list[list[str]]]
_GIVEN = 1  # column of what was given, which is as wide as the others leave it
_NARROWEST = 18  # of that column; before it becomes narrower, columns are left out from the right


def runs_table(records: Sequence[Record], sort: str) -> Table:
    """Return header and rows: one row a run, the most important columns first."""
    shared = common([record.given for record in records])
    metrics = {record.folder: shown_metric(record, sort) for record in records}
    names = {metric for metric in metrics.values() if metric}
    objectives = {record.objective[0] for record in records} - {""}
    rows = []
    for record in records:
        metric = metrics[record.folder]
        entry = record.test.get(metric, {})
        objective = number(record.objective[1])
        rows.append(
            [
                short_name(record),
                given_text(record.given, [*shared, *_in_name(record)]),
                _named(number(entry.get("value")), metric, len(names) > 1),
                record.status,
                _interval(entry),
                _named(objective, record.objective[0], len(objectives) > 1),
                number(record.seconds),
                " ".join(record.findings),
                _started(record),
            ]
        )
    header = ["run", "given", _head("test", names), "status", "95 % interval", _head("objective", objectives)]
    return [*header, "seconds", "findings", "started"], rows


def groups_table(grouped: Sequence[Group], sort: str) -> Table:
    """Return header and rows: one row a group of runs, with means and standard deviations."""
    shared = common([group.given for group in grouped])
    rows, names, objectives = [], set(), set()
    for group in grouped:
        first = next((record for record in group.records if record.test), group.records[0])
        names.add(shown_metric(first, sort))
        objectives.add(first.objective[0])
    names, objectives = names - {""}, objectives - {""}
    for group in grouped:
        first = next((record for record in group.records if record.test), group.records[0])
        metric, objective = shown_metric(first, sort), first.objective[0]
        rows.append(
            [
                _counted(group),
                given_text(group.given, shared),
                _named(spread_text(spread(group.values(f"test/{metric}"))), metric, len(names) > 1),
                _named(spread_text(spread(group.values(objective))), objective, len(objectives) > 1),
                spread_text(spread(group.values("seconds"))),
                " ".join(_findings(group)),
            ]
        )
    header = ["runs", "given", _head("test", names), _head("objective", objectives), "seconds", "findings"]
    return header, rows


def fit_given(table: Table, width: int | None) -> Table:
    """Cut what was given to the room that the other columns leave; leave columns to the right to the writer."""
    header, rows = table
    if width is None:
        return table
    for size in range(len(header), _GIVEN + 1, -1):
        others = [[cell for i, cell in enumerate(row[:size]) if i != _GIVEN] for row in (header, *rows)]
        room = width - 2 - cells(format_table(others[0], others[1:]).partition("\n")[0])
        if room >= _NARROWEST or size == _GIVEN + 2:
            room = max(room, len(header[_GIVEN]))
            return header, [[*row[:_GIVEN], clip(row[_GIVEN], room), *row[_GIVEN + 1 :]] for row in rows]
    return table


def shown_metric(record: Record, sort: str) -> str:
    """Return the metric of the test split to show: that which is sorted by, else that of the objective."""
    if sort.startswith("test/"):
        return sort.removeprefix("test/")
    metric = record.objective[0].removeprefix("val/")
    return metric if metric in record.test or not record.test else next(iter(record.test))


def short_name(record: Record) -> str:
    """Return the name without the time that it begins with, which is enough to name a run."""
    return record.name.removeprefix(f"{stamp_of(record.folder)}-")


def _started(record: Record) -> str:
    """Return day and minute, as in `11-28 17:05`."""
    stamp = stamp_of(record.folder)
    return f"{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}" if stamp else number(None)


def given_text(given: Sequence[str], shared: Sequence[str]) -> str:
    """Return what a run was given, without what all of them were."""
    return " ".join(line for line in given if line not in shared) or "–"


def _in_name(record: Record) -> list[str]:
    """Return the overrides that the name of the run tells."""
    return [f"task={record.task}"] if short_name(record).startswith(f"{record.task}-") else []


def spread_text(value: Spread | None) -> str:
    """Format `mean ± deviation`."""
    if value is None:
        return number(None)
    return number(value.mean) + ("" if value.deviation is None else f" ± {value.deviation:.2g}")


def run_record(record: Record) -> dict[str, Any]:
    """Return a run as plain Python, for the line of JSON."""
    name, value = record.objective
    return {
        "run": str(record.folder),
        "task": record.task,
        "status": record.status,
        "given": list(record.given),
        "objective": {"name": name, "value": value},
        "test": record.test,
        "seconds": record.seconds,
        "findings": list(record.findings),
    }


def group_record(group: Group) -> dict[str, Any]:
    """Return a group of runs as plain Python, for the line of JSON."""
    metrics = dict.fromkeys(metric for record in group.records for metric in record.test)
    name = next((record.objective[0] for record in group.records if record.objective[0]), "")
    return {
        "given": list(group.given),
        "task": group.records[0].task,
        "runs": [str(record.folder) for record in group.records],
        "objective": {"name": name, **_plain(spread(group.values(name)))},
        "test": {metric: _plain(spread(group.values(f"test/{metric}"))) for metric in metrics},
        "seconds": _plain(spread(group.values("seconds"))),
    }


def _plain(value: Spread | None) -> dict[str, Any]:
    if value is None:
        return {"mean": None, "deviation": None, "runs": 0}
    return {"mean": value.mean, "deviation": value.deviation, "runs": value.size}


def _counted(group: Group) -> str:
    counts = Counter(record.status for record in group.records)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _findings(group: Group) -> list[str]:
    counts = Counter(name for record in group.records for name in record.findings)
    return [name if count == len(group.records) else f"{name} ({count})" for name, count in counts.items()]


def _head(title: str, names: set[str]) -> str:
    """Return the header of a column that has one metric for all rows, or names it in each."""
    if len(names) != 1:
        return title
    (name,) = names
    return name if "/" in name else f"{title}/{name}"


def _named(text: str, name: str, in_cell: bool) -> str:
    return f"{name} {text}" if in_cell and name else text


def _interval(entry: dict[str, float]) -> str:
    low, high = number(entry.get("low")), number(entry.get("high"))
    return low if low == high == "–" else f"{low} … {high}"
