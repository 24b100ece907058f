"""Keeps the test metrics of a run on resampled rows, by which runs that were measured on the same rows are compared."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lit_mlfund.atomic import whole_file
from lit_mlfund.interval import Interval, percentile_interval

FILE = Path("predictions") / "test_resamples.npz"  # 1,000 values a metric
_ROWS = "rows"  # entry beside the metrics
_MOST_BYTES = 2**26  # of the file of a stranger, unpacked


@dataclass(frozen=True)
class Resamples:
    """Holds every metric on each resample of the test rows.

    rows    identifies these rows and their order
    values  metric -> its value on each resample; equal rows are resampled equally
    """

    rows: str
    values: dict[str, np.ndarray]


def write_resamples(run_dir: Path, rows: str, values: Mapping[str, np.ndarray]) -> None:
    """Write the resamples of a run whose folder `predictions` exists."""
    arrays: dict[str, Any] = {f"metric/{name}": value for name, value in values.items()}
    arrays[_ROWS] = np.array(rows)
    with whole_file(run_dir / FILE) as path:
        np.savez(path, **arrays)


def read_resamples(run_dir: Path) -> Resamples | None:
    """Return the resamples of a run; None where it has none, or they cannot be read."""
    try:
        with zipfile.ZipFile(run_dir / FILE) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > _MOST_BYTES:
                return None
        with np.load(run_dir / FILE, allow_pickle=False) as arrays:
            values = {
                name.removeprefix("metric/"): np.asarray(arrays[name], dtype=np.float64)
                for name in arrays.files
                if name != _ROWS
            }
            return Resamples(str(arrays[_ROWS]), values)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def difference(
    metric: str, values: tuple[float, float], resamples: tuple[Resamples, Resamples], level: float = 0.95
) -> Interval | None:
    """Return the second value minus the first with its *paired* bootstrap interval; None where rows or metric differ.

    The interval is that of the difference on equal resamples: it may exclude 0 where the intervals of the two values
    overlap.
    """
    first, second = resamples
    if first.rows != second.rows or metric not in first.values or metric not in second.values:
        return None
    if first.values[metric].shape != second.values[metric].shape or first.values[metric].ndim != 1:
        return None
    return percentile_interval(values[1] - values[0], second.values[metric] - first.values[metric], level)
