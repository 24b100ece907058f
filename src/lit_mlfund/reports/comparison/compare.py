"""Compares runs, or groups of them: what differs, and their test metrics with paired differences to the first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lit_mlfund.interval import Interval
from lit_mlfund.run_folders.differences import (
    Differences,
    config_differences,
    data_differences,
    given_differences,
    version_differences,
)
from lit_mlfund.run_folders.directions import known_direction
from lit_mlfund.run_folders.groups import Group, Spread, key_of, spread
from lit_mlfund.run_folders.record import Record, number_of, read
from lit_mlfund.run_folders.resamples import difference, read_resamples

OTHER_ROWS = "other rows"
NOT_KEPT = "not kept"  # by a run of an earlier version, or one that was not measured


@dataclass(frozen=True)
class Cell:
    """Holds a test metric of one run or group, and how it differs from the first one.

    value       on all rows; the mean of a group
    low, high   ends of its interval; None for a group
    deviation   standard deviation in a group
    difference  to the first one, with its paired interval; None where there is none
    reason      why there is none
    verdict     `better` or `worse`, where the interval excludes 0
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    difference: Interval | None = None
    reason: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Comparison:
    """Holds what differs between runs or groups of them.

    members   the runs of each column: one, or those of a group
    metrics   metric -> a cell for each column
    curves    column -> run -> the history by epoch, from `metrics.json`
    """

    members: list[list[Record]]
    over: tuple[str, ...] = ()
    given: Differences = field(default_factory=dict)
    configuration: Differences = field(default_factory=dict)
    versions: Differences = field(default_factory=dict)
    data: Differences = field(default_factory=dict)
    metrics: dict[str, list[Cell]] = field(default_factory=dict)
    curves: list[list[list[dict[str, float]]]] = field(default_factory=list)


def compare(records: Sequence[Record], configs: Sequence[Mapping[str, Any]]) -> Comparison:
    """Compare runs one by one.

    Args:
        records: two or more runs.
        configs: their configurations.
    """
    provenances = [read(record.folder / "provenance.json") for record in records]
    given = given_differences([record.given for record in records])
    return Comparison(
        [[record] for record in records],
        (),
        given,
        config_differences(configs, given),
        version_differences(provenances),
        data_differences(provenances),
        _metrics(records),
        [[history(record)] for record in records],
    )


def compare_groups(groups: Sequence[Group], over: Sequence[str]) -> Comparison:
    """Compare groups of runs by their means; differences are paired over the values that the runs were joined over."""
    first = groups[0]
    names = dict.fromkeys(metric for group in groups for record in group.records for metric in record.test)
    return Comparison(
        [group.records for group in groups],
        tuple(over),
        given_differences([group.given for group in groups]),
        metrics={metric: [_mean_cell(metric, first, group, over) for group in groups] for metric in names},
        curves=[[history(record) for record in group.records] for group in groups],
    )


def history(record: Record) -> list[dict[str, float]]:
    """Return the values that a run logged after each epoch; none where it kept none that can be read."""
    logged = read(record.folder / "metrics.json").get("history")
    entries = logged if isinstance(logged, list) else []
    return [
        {str(name): value for name, number in entry.items() if (value := number_of(number)) is not None}
        for entry in entries
        if isinstance(entry, dict)
    ]


def _metrics(records: Sequence[Record]) -> dict[str, list[Cell]]:
    resamples = [read_resamples(record.folder) for record in records]
    names = dict.fromkeys(metric for record in records for metric in record.test)
    metrics: dict[str, list[Cell]] = {}
    for metric in names:
        cells = []
        for number, record in enumerate(records):
            entry = record.test.get(metric, {})
            value, low, high = (number_of(entry.get(key)) for key in ("value", "low", "high"))
            base = records[0].value(f"test/{metric}")
            if number == 0 or value is None or base is None:
                cells.append(Cell(value, low, high))
                continue
            first, own = resamples[0], resamples[number]
            if first is None or own is None:
                cells.append(Cell(value, low, high, reason=NOT_KEPT))
                continue
            if first.rows != own.rows:
                cells.append(Cell(value, low, high, reason=OTHER_ROWS))
                continue
            gained = difference(metric, (base, value), (first, own))
            cells.append(Cell(value, low, high, difference=gained, verdict=_verdict(metric, gained)))
        metrics[metric] = cells
    return metrics


def _mean_cell(metric: str, first: Group, group: Group, over: Sequence[str]) -> Cell:
    mean: Spread | None = spread(group.values(f"test/{metric}"))
    if mean is None:
        return Cell(None)
    if group is first:
        return Cell(mean.mean, deviation=mean.deviation)
    gained = _paired(_by_key(metric, first, over), _by_key(metric, group, over))
    reason = "" if gained else f"fewer than 2 of the same {' and '.join(over)}"
    return Cell(
        mean.mean,
        deviation=mean.deviation,
        difference=gained,
        reason=reason,
        verdict=_verdict(metric, gained),
    )


def _by_key(metric: str, group: Group, over: Sequence[str]) -> dict[str, float]:
    """Return the metric by the values that the runs were joined over."""
    values = {}
    for record in group.records:
        if record.status == "done" and (value := record.value(f"test/{metric}")) is not None:
            values[" ".join(line for line in record.given if key_of(line) in over)] = value
    return values


def _paired(first: dict[str, float], second: dict[str, float]) -> Interval | None:
    """Return the mean of second − first over what both have, with its t interval; None for fewer than two."""
    from lit_mlfund.references.comparison import paired_interval

    value, low, high = paired_interval(second, first)
    return None if math.isnan(low) else Interval(value, low, high)


def _verdict(metric: str, gained: Interval | None) -> str:
    direction = known_direction(metric)
    if gained is None or direction is None or not (gained.low > 0 or gained.high < 0):
        return ""
    return "better" if (gained.low > 0) == (direction == "max") else "worse"
