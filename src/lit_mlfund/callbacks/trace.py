"""Records training values over steps in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

Entry = dict[str, float]


class Trace:
    """Stores entries of `step`, `num_steps` and means over those steps, merging neighbours when there are too many.

    Means are weighted by `num_steps`; for names that end in `_max` the maximum is taken.

    Args:
        max_entries: largest number of entries, even; beyond it, neighbours are merged in pairs.
        entries: initial entries, from an interrupted training.
    """

    def __init__(self, max_entries: int = 1000, entries: Iterable[Entry] = ()):
        if max_entries < 2 or max_entries % 2:
            raise ValueError(f"max_entries must be an even number of at least 2, got {max_entries}")
        self.max_entries = max_entries
        self.entries = list(entries)

    def add(self, entry: Entry) -> None:
        """Append the values measured over the `num_steps` steps up to `step`."""
        self.entries.append(entry)
        if len(self.entries) > self.max_entries:
            pairs = zip(self.entries[: self.max_entries : 2], self.entries[1 : self.max_entries : 2])
            self.entries = [*(_merged(a, b) for a, b in pairs), *self.entries[self.max_entries :]]


def _merged(first: Entry, second: Entry) -> Entry:
    total = first["num_steps"] + second["num_steps"]
    merged = {"step": second["step"], "num_steps": total}
    for name in (first.keys() & second.keys()) - merged.keys():
        if name.endswith("_max"):
            merged[name] = max(first[name], second[name])
        else:
            merged[name] = (first[name] * first["num_steps"] + second[name] * second["num_steps"]) / total
    return merged
