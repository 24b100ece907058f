"""Tells each user's past, such that no future can leak into it, and the items that a search leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STAGES = {"train": 0, "val": 1, "test": 2, "new": 3}  # the order in which the splits become known


@dataclass(frozen=True)
class SeenItems:
    """Holds for each query `[P]` the items that a search leaves out: `item[begin[p] : end[p]]`."""

    item: Tensor
    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    def of(self, queries: slice) -> list[Tensor]:
        """Return the items of some queries, a tensor for each."""
        return [self.item[a:b] for a, b in zip(self.begin[queries].tolist(), self.end[queries].tolist())]

    def count(self, item: NDArray[np.int64]) -> int:
        """Count the queries that leave out the item of theirs, `item [P]`."""
        items = self.item.numpy()
        return sum(i in items[a:b] for i, a, b in zip(item.tolist(), self.begin.tolist(), self.end.tolist()))


@dataclass(frozen=True)
class History:
    """Holds all interactions, sorted by user and then by time.

    user, item `[N]` are rows of `Entities`; moment `[N]` is the time; stage `[N]` is that of the split (`STAGES`).
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    moment: NDArray[np.float64]
    stage: NDArray[np.int8]

    @classmethod
    def of(
        cls,
        user: NDArray[np.int64],
        item: NDArray[np.int64],
        moment: NDArray[np.float64],
        stage: NDArray[np.int8],
    ) -> Self:
        """Sort interactions given in any order; those of the same user and moment keep their order."""
        order = np.lexsort((moment, user))
        return cls(user[order], item[order], moment[order], stage[order])

    def before(
        self, user: NDArray[np.int64], moment: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return for each query `[P]` where its user's interactions before `moment` begin and end (exclusive).

        Strictly before: what happens at the same moment is not known yet.
        """
        moments = np.unique(self.moment)
        width = len(moments) + 1
        keys = self.user * width + np.searchsorted(moments, self.moment)
        return (
            np.searchsorted(keys, user * width),
            np.searchsorted(keys, user * width + np.searchsorted(moments, moment)),
        )

    def seen(self, user: NDArray[np.int64], moment: NDArray[np.float64], stage: int) -> SeenItems:
        """Return what a search leaves out for queries `[P]` of a split: what their users took before.

        Before is at an earlier moment, in any split; or at the same moment, in a split of an earlier stage: what a
        user took in training stays known when the clock does not tell it from the query.
        """
        moments = np.unique(self.moment)
        # Two places for each moment: what is known to a query of that moment, and what is not.
        known = 2 * np.searchsorted(moments, self.moment) + (self.stage >= stage)
        place = 2 * np.searchsorted(moments, moment) + np.isin(moment, moments)
        width = 2 * (len(moments) + 1)
        keys = self.user * width + known
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        return SeenItems(
            torch.from_numpy(self.item[order]),
            np.searchsorted(keys, user * width),
            np.searchsorted(keys, user * width + place),
        )

    def restrict(self, num_items: int) -> Self:
        """Drop the items from row `num_items` on."""
        known = self.item < num_items
        return type(self)(self.user[known], self.item[known], self.moment[known], self.stage[known])

    def join(self, other: Self) -> Self:
        """Merge the interactions of both."""
        return self.of(
            np.concatenate([self.user, other.user]),
            np.concatenate([self.item, other.item]),
            np.concatenate([self.moment, other.moment]),
            np.concatenate([self.stage, other.stage]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, for a checkpoint; to a new file, all splits are known alike."""
        return {
            "user": pack(self.user.astype(np.int32)),
            "item": pack(self.item.astype(np.int32)),
            "moment": pack(self.moment),
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Restore the object from the result of `to_dict`."""
        user, item = (unpack(state[name]).astype(np.int64) for name in ("user", "item"))
        return cls(user, item, unpack(state["moment"]), np.zeros(len(user), np.int8))


def pack(values: np.ndarray) -> dict[str, Any]:
    """Convert an array to plain Python; states that hold it can be compared, unlike those with tensors."""
    return {"dtype": str(values.dtype), "shape": list(values.shape), "data": values.tobytes()}


def unpack(state: dict[str, Any]) -> np.ndarray:
    """Restore the array from the result of `pack`."""
    return np.frombuffer(state["data"], dtype=state["dtype"]).reshape(state["shape"]).copy()
