"""Finds categories whose values in training and in the later splits are not the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lit_mlfund.data.preprocessing.label_counts import LabelCounts
from lit_mlfund.data.reading.table import Table

MOST_UNSEEN = 0.2  # greatest share of validation rows with a value that no row of training has
CHANCE = 1e-3  # a split without any known value is no coincidence where that was less probable than this


@dataclass(frozen=True)
class Cells:
    """Counts the rows of a split, and by category the cells whose value is in the vocabulary, and not in it."""

    rows: int
    known: Mapping[str, int]
    unknown: Mapping[str, int]


def novel_categories(
    splits: Mapping[str, Cells], parts: Callable[[list[str]], Iterable[tuple[str, Table]]]
) -> dict[str, str]:
    """Return the categories of which a model cannot learn what holds later, each with the reason.

    A category is returned if none of its known values occurs in validation or in test (unless that can be a
    coincidence, in a small split of a category that is mostly missing), or if more than `MOST_UNSEEN` of the
    validation rows have a value that training does not have. A value that is rare in training is no such value:
    what the model learns of rare ones holds for it.

    Args:
        splits: what was counted when the splits were encoded.
        parts: yields the name of a split and some of its rows, with the columns that it is asked for.
    """
    train, val = splits["train"], splits["val"]
    reasons: dict[str, str] = {}
    for name, count in train.known.items():
        absent = 1 - count / train.rows
        never = [
            split
            for split, cells in splits.items()
            if split != "train" and not cells.known.get(name) and absent**cells.rows < CHANCE
        ]
        if never:
            reasons[name] = f"none of its values in training occurs in {' or '.join(never)}"
    doubtful = [
        name
        for name in train.known
        if name not in reasons and val.unknown.get(name, 0) > MOST_UNSEEN * val.rows
    ]
    for name, unseen in (_unseen(doubtful, parts(doubtful)) if doubtful else {}).items():
        if unseen > MOST_UNSEEN * val.rows:
            reasons[name] = (
                f"{unseen / val.rows:.0%} of the val rows have a value that training does not have"
            )
    return reasons


def _unseen(names: list[str], parts: Iterable[tuple[str, Table]]) -> dict[str, int]:
    """Count the cells of validation whose label does not occur in training."""
    labels = {name: {"train": LabelCounts(), "val": LabelCounts()} for name in names}
    for split, table in parts:
        for name in names:
            if split in labels[name]:
                labels[name][split].add(table.labels(name))
    return {
        name: int(of["val"].table().join(of["train"].table(), on="label", how="anti")["count"].sum())
        for name, of in labels.items()
    }
