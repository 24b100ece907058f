"""Takes frames that are in memory already, of polars or pandas, where a file is expected."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import polars as pl

Frame: TypeAlias = Any  # of polars or pandas, which is no dependency of ours
Source: TypeAlias = str | Frame  # a path, or rows in memory

IN_MEMORY = "the frame"  # what messages call it


def is_frame(source: Source) -> bool:
    """Return whether `source` holds rows itself, and is no path."""
    return isinstance(source, (pl.DataFrame, pl.LazyFrame)) or _is_pandas(source)


def name_of(source: Source) -> str:
    """Return what messages call a source: its path, or that it is in memory."""
    return IN_MEMORY if is_frame(source) else str(source)


def to_polars(source: Frame) -> pl.DataFrame:
    """Return a frame of polars or pandas as one of polars; the index of a pandas frame is left out.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    if isinstance(source, pl.DataFrame):
        return source
    if not _is_pandas(source):
        raise TypeError(f"expected a path, or a polars or pandas frame, got a {type(source).__name__}")
    return pl.DataFrame([_to_series(str(name), source[name]) for name in source.columns])


def like_given(frame: pl.DataFrame, given: Any) -> Any:
    """Return a polars frame as one of pandas where `given` is that, with its index where the rows are the same."""
    if not _is_pandas(given):
        return frame
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    index = given.index if len(given) == frame.height else None
    return type(given)(columns, index=index)


def _is_pandas(source: Any) -> bool:
    return any(
        base.__module__.split(".")[0] == "pandas" and base.__name__ == "DataFrame"
        for base in type(source).__mro__
    )


def _to_series(name: str, column: Any) -> pl.Series:
    """Convert a column without pyarrow, which polars' own conversion needs."""
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_localize(None)
    values = column.to_numpy()
    if values.dtype.kind == "M":
        return pl.Series(name, values.astype("datetime64[us]"))
    if values.dtype.kind in "biuf":
        return pl.Series(name, values)
    missing = column.isna().to_numpy()
    return pl.Series(
        name, [None if m else v for v, m in zip(np.asarray(values, dtype=object), missing)], strict=False
    )
