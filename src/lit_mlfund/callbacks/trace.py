"""What was read every few steps of a training, in bounded space."""

from __future__ import annotations

from collections.abc import Iterable

Entry = dict[str, float]


class Trace:
    """Entries of `step`, `num_steps` and means over those steps; neighbours are merged when there are too many.

    Means are weighted by `num_steps`; of a name that ends in `_max` the larger value is kept.

    Args:
        most: entries kept at most; from half of it on the course of a long training is told more coarsely.
        entries: those of an interrupted training.
    """

    def __init__(self, most: int = 1000, entries: Iterable[Entry] = ()):
        if most < 2 or most % 2:
            raise ValueError(f"most must be an even number from 2 on, got {most}")
        self.most = most
        self.entries = list(entries)

    def add(self, entry: Entry) -> None:
        """Add what was measured over the `num_steps` steps up to `step`."""
        self.entries.append(entry)
        if len(self.entries) > self.most:
            pairs = zip(self.entries[: self.most : 2], self.entries[1 : self.most : 2])
            self.entries = [*(_merged(a, b) for a, b in pairs), *self.entries[self.most :]]


def _merged(first: Entry, second: Entry) -> Entry:
    total = first["num_steps"] + second["num_steps"]
    merged = {"step": second["step"], "num_steps": total}
    for name in (first.keys() & second.keys()) - merged.keys():
        if name.endswith("_max"):
            merged[name] = max(first[name], second[name])
        else:
            merged[name] = (first[name] * first["num_steps"] + second[name] * second["num_steps"]) / total
    return merged
