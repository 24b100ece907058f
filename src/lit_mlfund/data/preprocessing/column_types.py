"""Decides which columns of a table are features, and of what kind."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import polars as pl

from lit_mlfund.data.reading.table import Table

ISO_DATE = r"^\d{4}-\d{2}-\d{2}"
# A text column with more than this share of numbers is taken for a numeric column that contains mistakes.
MOSTLY_NUMBERS = 0.5
# What the column of row numbers is called that spreadsheets, pandas and R write beside a table.
ROW_NUMBERS = re.compile(
    r"|unnamed: ?\d+|index|level_0|__index_level_0__|rownames|row\.names|row_names", re.IGNORECASE
)


@dataclass(frozen=True)
class Schema:
    """Lists feature columns by kind, in file order; `dropped` holds the reason why a column is not a feature."""

    numeric: tuple[str, ...] = ()
    boolean: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    date: tuple[str, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)


def infer_schema(
    table: Table,
    roles: Collection[str | None] = (),
    excluded: Mapping[str, str] | None = None,
    categorical: Collection[str] = (),
) -> Schema:
    """Infer the kind of every column that has no other role (target, weight, query).

    `excluded` maps columns that are not features to the reason.

    Numbers are numeric (the user names numeric codes in `categorical`); text is categorical, unless all of it
    parses as numbers or as ISO dates; dates and times become numeric features.

    Raises:
        DataError: a text column that is mostly numbers.
    """
    kinds: dict[str, list[str]] = {"numeric": [], "boolean": [], "categorical": [], "date": []}
    dropped = dict(excluded or {})
    for name in table.frame.columns:
        if name in roles or name in dropped:
            continue
        kind = "categorical" if name in categorical else _kind(table, name)
        if kind in kinds:
            kinds[kind].append(name)
        else:
            dropped[name] = kind
    return Schema(**{kind: tuple(names) for kind, names in kinds.items()}, dropped=dropped)


def _is_date(text: pl.Series) -> bool:
    return bool(text.str.contains(ISO_DATE).all()) and text.str.to_datetime(strict=False).null_count() == 0


def _counts_rows(table: Table, name: str) -> bool:
    """Return whether a column without a name of its own counts the rows of the file."""
    column = table.frame[name]
    if not ROW_NUMBERS.fullmatch(name) or column.null_count() or len(column) < 2:
        return False
    offset = column.cast(pl.Int64).to_numpy() - table.rows
    return bool((offset == offset[0]).all())


def _kind(table: Table, name: str) -> str:
    """Return the kind of a column, or the reason why it cannot be used."""
    column = table.frame[name]
    dtype = column.dtype
    if dtype == pl.Null:
        return "empty"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype in (pl.Date, pl.Datetime):
        return "date"
    if dtype.is_integer() and _counts_rows(table, name):
        return "row numbers"
    if dtype.is_numeric() or dtype in (pl.Duration, pl.Time):
        return "numeric"
    if dtype in (pl.Categorical, pl.Enum):
        return "categorical"
    if dtype != pl.String:
        return f"a column of type {dtype} cannot be a feature"
    text = column.drop_nulls()
    if _is_date(text.head(100)) and _is_date(text):
        return "date"
    numbers = text.str.strip_chars().cast(pl.Float64, strict=False)
    share = 1 - numbers.null_count() / max(len(text), 1)
    if share == 1 and not text.str.contains(r"^0\d").any():
        return "numeric"
    if MOSTLY_NUMBERS < share < 1:
        bad = (
            column.str.strip_chars().cast(pl.Float64, strict=False).is_null() & column.is_not_null()
        ).to_numpy()
        cell = column.filter(bad)[0]
        hint = f"if these are codes, say data.categorical=[{name}]; if {cell!r} means missing, data.missing=[{cell!r}]"
        raise table.error(name, f"text where a number belongs ({cell!r})", bad, hint)
    return "categorical"
