"""Formats over the columns of a table: one column tells of another, and what stays open is refused."""

import datetime

import polars as pl
import pytest

from lit_mlfund.data.parsing.column_formats import Ambiguous, FormatFinder, from_dict, to_dict
from lit_mlfund.data.parsing.dates_in_text import DateFormat, iso_dtype, parse_iso
from lit_mlfund.data.parsing.numbers_in_text import CONTINENTAL, ENGLISH
from lit_mlfund.data.parsing.options import Parsing


def find(columns, options=Parsing(), separator=",", **others):  # noqa: B008
    frame = pl.DataFrame(columns)
    finder = FormatFinder(frame.schema, options, separator=separator, **others)
    for piece in frame.iter_slices(3):
        finder.add(piece)
    return finder.find()


OPEN = ["1,399", "2,100", "7,250"] * 4
DAYS = ["01/02/2020", "03/04/2020", "05/06/2021"] * 4


def test_a_column_tells_of_another():
    assert find({"a": OPEN, "b": ["1,234.5"] * 12}).formats == {"a": ENGLISH, "b": ENGLISH}
    assert find({"a": OPEN, "b": ["0,5"] * 12}, separator=";").formats == {"a": CONTINENTAL, "b": CONTINENTAL}
    other = ["25/12/2020"] * 12
    assert find({"a": DAYS, "b": other}).formats["a"] == DateFormat("%d/%m/%Y")
    with pytest.raises(
        Ambiguous, match=r"column 'a': '1,399' may be 1399 or 1.399; say data.thousands=comma"
    ):
        find({"a": OPEN, "b": [1.5] * 12})
    with pytest.raises(
        Ambiguous, match=r"'01/02/2020' may be read in several ways; say data.date_format='%d/%m/%Y'"
    ):
        find({"a": DAYS})


def test_untouched_columns_and_what_is_given():
    assert find({"a": OPEN, "b": DAYS}, untouched={"a", "b"}).formats == {}
    options = Parsing.of(decimal="comma", date_format={"b": "%m/%d/%Y"})
    assert find({"a": OPEN, "b": DAYS}, options).formats == {"a": CONTINENTAL, "b": DateFormat("%m/%d/%Y")}
    # one form for all columns holds where it fits
    options = Parsing.of(date_format="%m/%d/%Y")
    iso = ["13.01.2020"] * 12
    assert find({"b": DAYS, "c": iso}, options).formats == {
        "b": DateFormat("%m/%d/%Y"),
        "c": DateFormat("%d.%m.%Y"),
    }


def test_lists_of_codes_are_no_numbers():
    found = find({"a": ["1,2", "2,31"] * 6, "b": [1.5] * 12})
    assert found.formats == {}
    assert found.remarks == [
        "a: text, though cells such as '1,2' may be numbers; data.decimal=comma reads them"
    ]


def test_whole_numbers_that_are_dates():
    days = [20200101 + n for n in range(12)]
    assert find({"d": days}).formats == {"d": DateFormat("%Y%m%d")}
    assert find({"d": days}, never_dates={"d"}).formats == {}
    for other in ([20200101] * 12, [20201301, *days], list(range(12)), [1e3 * n for n in range(12)]):
        assert find({"d": other}).formats == {}


def test_state():
    formats = {"a": ENGLISH, "d": DateFormat("%d.%m.%y")}
    assert from_dict(to_dict(formats)) == formats


@pytest.mark.parametrize(
    "cell",
    [
        "2020-01-02", "2020/1/2", "2020.01.02", "2020-01-02 10:00", "2020-01-02T10:00:00", "2020-01-02T10:00:00Z",
        "2020-01-02T10:00:00+01:00", "2020-01-02 10:00:00.5", "10:00", "10:00:30", "2020-13-45", "2020-01", "x",
    ],
)  # fmt: skip
def test_the_year_first_as_polars_reads_it(cell):
    text = pl.Series("a", [cell, None, cell])
    expected = pl.read_csv(f"a,b\n{cell},1\n,2\n{cell},3\n".encode(), try_parse_dates=True)["a"]
    dtype = iso_dtype(text)
    assert (dtype or pl.String()) == expected.dtype
    if dtype is not None:
        assert parse_iso(text, dtype).equals(expected)


@pytest.mark.parametrize(
    ("cell", "form"),
    [
        ("31/12/2020", "%d/%m/%Y"), ("12/31/20", "%m/%d/%y"), ("31.1.2020", "%d.%m.%Y"), ("1-Jan-2020", "%d-%b-%Y"),
        ("January 5, 2020", "%B %d, %Y"), ("12/31/2020 11:05 PM", "%m/%d/%Y %I:%M %p"),
        ("31/12/2020 23:05:01.5", "%d/%m/%Y %H:%M:%S%.f"),
    ],
)  # fmt: skip
def test_forms(cell, form):
    found = find({"a": [cell] * 12})
    assert found.formats == {"a": DateFormat(form)}
    parsed = DateFormat(form).parse(pl.Series([cell]))[0]
    moment = (
        parsed
        if isinstance(parsed, datetime.datetime)
        else datetime.datetime.combine(parsed, datetime.time())
    )
    if "%.f" not in form:
        assert moment == datetime.datetime.strptime(cell, form)
