"""Joins runs that differ in one setting only, such as the seed, and takes means over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from lit_mlfund.config.errors import ConfigError, suggestion
from lit_mlfund.run_folders.record import Record

_WHERE = ("name", "runs_dir", "hydra.sweep.dir")  # say where a run is written, not what it does


@dataclass(frozen=True)
class Group:
    """Holds runs that were given the same but for the settings that they are joined over."""

    given: tuple[str, ...]
    records: list[Record]

    def values(self, column: str) -> list[float]:
        """Return the values of a column in the runs that have it, which failed ones do not."""
        values = [record.value(column) for record in self.records if record.status == "done"]
        return [value for value in values if value is not None]


@dataclass(frozen=True)
class Spread:
    """Holds the mean of some values and their standard deviation, None for fewer than two."""

    mean: float
    deviation: float | None
    size: int


def spread(values: list[float]) -> Spread | None:
    """Return mean and standard deviation (n − 1) of the values; None where there are none."""
    if not values:
        return None
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def groups(records: Iterable[Record], over: Iterable[str]) -> list[Group]:
    """Return the runs in groups that were given the same but for the keys of `over`, in the order of the runs.

    Raises:
        ConfigError: no run was given one of the keys.
    """
    records, over = list(records), tuple(over)
    keys = {key_of(line) for record in records for line in record.given}
    if missing := [key for key in over if key not in keys]:
        raise ConfigError(
            f"over: no run was given {key}=…; {suggestion(key, sorted(keys))}" for key in missing
        )
    joined: dict[tuple[str, tuple[str, ...]], list[Record]] = {}
    for record in records:
        kept = tuple(sorted(line for line in record.given if key_of(line) not in (*over, *_WHERE)))
        joined.setdefault((record.task, kept), []).append(record)
    return [
        Group(tuple(line for line in members[0].given if key_of(line) not in (*over, *_WHERE)), members)
        for members in joined.values()
    ]


def common(given: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the overrides that all of several runs were given; none where there is only one."""
    listed = list(given)
    if len(listed) < 2:
        return []
    return [line for line in listed[0] if all(line in other for other in listed[1:])]


def key_of(line: str) -> str:
    """Return the key of an override such as `+optim.lr=1e-3`."""
    return line.lstrip("+~").partition("=")[0]
