"""Columns as numbers, labels and timestamps; the kinds of columns; what dates become."""

import datetime

import numpy as np
import polars as pl
import pytest

from lit_mlfund.data.preprocessing.column_types import infer_schema
from lit_mlfund.data.preprocessing.dates import DateColumn
from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.reading.table import Table


def table(**columns) -> Table:
    return Table.of(pl.DataFrame(columns, strict=False), "x.csv")


def test_numbers():
    def numbers(values, dtype=None):
        return table(x=pl.Series(values, dtype=dtype)).numbers("x").tolist()

    assert numbers([1, None, 3])[::2] == [1, 3] and np.isnan(numbers([1, None, 3])[1])
    assert np.isnan(numbers([1.0, float("nan")])[1])
    assert numbers([True, False]) == [1, 0]
    assert numbers([" 1.5", "2e3"]) == [1.5, 2000]
    assert numbers([datetime.timedelta(minutes=2)]) == [120]
    assert numbers([datetime.time(1)]) == [3600]
    assert np.isnan(numbers([None])[0])
    assert numbers([2], pl.Decimal(10, 2)) == [2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["1", "two", None, "2", "drei"],
            r"x.csv: column 'x': text where a number belongs \('two'\): rows 2, 5",
        ),
        ([1.0, float("inf"), float("-inf")], "x.csv: column 'x': infinite values: rows 2, 3"),
        ([datetime.date(2013, 1, 1)], "Date where a number belongs"),
        ([[1, 2]], "List"),
    ],
)
def test_values_that_are_not_numbers(values, message):
    with pytest.raises(DataError, match=message):
        table(x=values).numbers("x")


def test_rows_are_those_of_the_file():
    part = table(x=["1", "2", "three", "4"]).take(np.array([2, 3]), "val")
    with pytest.raises(DataError, match=r"x.csv \(val\).*: row 3$"):
        part.numbers("x")


def test_one_label_in_any_type():
    for values in ([1, None], [1.0, None], ["1", None], pl.Series(["1", None], dtype=pl.Categorical)):
        assert table(x=values).labels("x").to_list() == ["1", None]
    assert table(x=[1.5, 1.0]).labels("x").to_list() == ["1.5", "1"]
    assert table(x=[True]).labels("x").to_list() == ["true"]


def test_codes():
    assert table(x=["b", "a", "b", "c"]).codes("x").tolist() == [1, 0, 1, 2]
    assert table(x=[30, 4, 30]).codes("x").max() == 1


def test_timestamps():
    moment = datetime.datetime(2013, 1, 2, 3, 4)
    utc = pl.Series([moment]).dt.replace_time_zone("UTC")
    for values in ([moment], ["2013-01-02 03:04:00"], ["2013-01-02T03:04:00Z"], utc):
        assert table(x=values).timestamps("x").to_list() == [moment]
    assert table(x=[moment.date(), None]).timestamps("x").to_list() == [datetime.datetime(2013, 1, 2), None]
    with pytest.raises(DataError, match=r"not a date \('soon'\): row 2"):
        table(x=["2013-01-02", "soon"]).timestamps("x")
    with pytest.raises(DataError, match="Int64 where a date belongs"):
        table(x=[1]).timestamps("x")


def test_kinds():
    days = [datetime.date(2013, 1, day) for day in (1, 2, 3)]
    schema = infer_schema(
        table(
            y=[0, 1, 0],
            number=[1, 2, 3],
            code=[1, 2, 3],
            written=["1.5", None, "2"],
            zip=["01234", "10115", "99999"],
            flag=[True, None, False],
            word=["a", "b", "c"],
            day=days,
            iso=[str(day) for day in days],
            clock=[datetime.time(hour) for hour in (1, 2, 3)],
            empty=[None, None, None],
            nested=[[1], [2], [3]],
            user=[7, 8, 9],
        ),
        roles=["y", None],
        excluded={"user": "grouped by it"},
        categorical=["code"],
    )
    assert schema.numeric == ("number", "written", "clock")
    assert schema.categorical == ("code", "zip", "word")
    assert schema.boolean == ("flag",)
    assert schema.date == ("day", "iso")
    assert schema.dropped == {
        "user": "grouped by it",
        "empty": "empty",
        "nested": "a column of type List(Int64) cannot be a feature",
    }


def test_numbers_with_a_mistake_are_not_taken_for_categories():
    mixed = table(age=["31", "forty", "27", "", "n.a.", "50", "9"])
    with pytest.raises(
        DataError, match=r"'age': text where a number .*'forty'.*rows 2, 4, 5; if .*data.categorical"
    ):
        infer_schema(mixed)
    assert infer_schema(mixed, categorical=["age"]).categorical == ("age",)


def test_cycles_are_used_where_training_saw_them_whole():
    def cycles(start, end, **kwargs):
        fitted = DateColumn.fit(
            "t", pl.datetime_range(start, end, "6h", eager=True, time_unit="us"), **kwargs
        )
        return fitted if isinstance(fitted, str) else (fitted.trend, fitted.cycles)

    start = datetime.datetime(2013, 1, 1)
    assert cycles(start, datetime.datetime(2014, 1, 2), trend=True) == (
        True,
        ("hour", "weekday", "day_of_year"),
    )
    assert cycles(start, datetime.datetime(2013, 2, 1), trend=False) == (False, ("hour", "weekday"))
    assert cycles(start, datetime.datetime(2013, 1, 1, 12), trend=False) == "too short a time for a cycle"
    assert cycles(start, start, trend=True) == "one moment only"
    assert DateColumn.fit("t", pl.Series([None], dtype=pl.Datetime("us")), trend=True) == "empty"


def test_dates_as_numbers():
    days = pl.Series([datetime.datetime(2013, 1, 7), datetime.datetime(2013, 1, 14, 6), None])  # Mondays
    columns = dict(DateColumn("t", True, ("hour", "weekday", "day_of_year")).expand(days))
    assert columns["t (days)"][:2].tolist() == [15712, 15719.25]
    np.testing.assert_allclose(columns["t (weekday sin)"][0], 0, atol=1e-9)
    np.testing.assert_allclose(columns["t (weekday cos)"][0], 1)
    np.testing.assert_allclose(columns["t (hour sin)"][:2], [0, 1], atol=1e-9)
    angle = 2 * np.pi * 6 / 365.2425
    np.testing.assert_allclose(columns["t (day_of_year sin)"][0], np.sin(angle), atol=0.01)
    assert all(np.isnan(values[2]) for values in columns.values())
