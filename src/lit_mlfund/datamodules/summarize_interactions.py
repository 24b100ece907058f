"""Summarizes a table of interactions: rows, users, items, their columns, and what training does not know of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_mlfund.data.preprocessing.interactions import Entities
from lit_mlfund.data.reading.split import Splits


def summarize(
    splits: Splits, users: tuple[Entities, NDArray[np.int64]], items: tuple[Entities, NDArray[np.int64]]
) -> dict[str, Any]:
    """Count rows and ids; `users` and `items` come with their row of each interaction."""
    cold = {
        f"{what}_not_in_train": {
            name: int((values[rows] >= entities.num_known).sum())
            for name, rows in splits.items()
            if name != "train"
        }
        for what, (entities, values) in (("users", users), ("items", items))
    }
    return {
        "rows": {name: len(rows) for name, rows in splits.items()},
        "users": len(users[0].names),
        "items": len(items[0].names),
        **{f"rows_of_{name}": counts for name, counts in cold.items()},
        "columns": {
            what: {
                "categorical": list(entities.fields["categorical"].names),
                "numeric": list(entities.fields["numeric"].names) if "numeric" in entities.fields else [],
                "dropped": {} if entities.features is None else entities.features.dropped,
            }
            for what, (entities, _) in (("user", users), ("item", items))
        },
    }


def note_repeats(repeats: dict[str, int]) -> list[str]:
    """Say how many pairs of each split are of an item that no search shows, because its user took it before."""
    counts = " and ".join(f"{count:,} of {name}" for name, count in repeats.items() if count)
    return [f"taken before, so not found: {counts} (data.exclude_seen=false keeps them)"] if counts else []
