"""Layouts of text files: separator, lines before the header, header, encoding."""

import pytest

from lit_mlfund.data.parsing.file_layout import find_layout
from lit_mlfund.data.parsing.options import Parsing

ROWS = "".join(f"{n}.5,{n}\n" for n in range(9, 0, -1))


@pytest.mark.parametrize(
    ("text", "separator", "skip", "header"),
    [
        ("a,b\n" + ROWS, ",", 0, True),
        ("a;b\n" + ROWS.replace(",", ";"), ";", 0, True),
        ("a;b\n" + ROWS.replace(",", ";").replace(".", ","), ";", 0, True),
        ("a|b\n" + ROWS.replace(",", "|"), "|", 0, True),
        ('"a, b, c";"d"\n1;2\n3;4\n', ";", 0, True),
        ("weight, kg;b\n1;2\n3;4\n", ";", 0, True),
        ("A title\n\na,b\n" + ROWS, ",", 2, True),
        ("# one\n# two\na;b;c\n1;2;3\n4;5;6\n", ";", 2, True),
        ('"A title\nof two lines"\na,b\n' + ROWS, ",", 2, True),
        (ROWS, ",", 0, False),
        ("1100.5,1101.0,1102\n" + ROWS, ",", 0, True),  # wavelengths ascend
        ("0,1,2\n3,4,5\n", ",", 0, True),
        ("a\n1\n2\n", ",", 0, True),
        ("word\nred, or so\nblue\n", ",", 0, True),
        ("x y\n1,5,2\n2,5,1\n", ",", 0, True),  # rows are no header
        ("b\n1,0.5\n2,0.5\n", ",", 0, True),  # nor are the names of rows that R writes
        ("a,b,c\n1,2\n3,4,5\n", ",", 0, True),
        ("sep=;\na;b\n1;2\n", ";", 1, True),  # for Excel
        ("", ",", 0, True),
    ],
)
def test_layouts(text, separator, skip, header):
    for content in (text, text.replace("\n", "\r\n"), "\ufeff" + text):
        layout = find_layout(content.encode(), Parsing(), whole=True)
        assert (layout.separator, layout.skip, layout.header) == (separator, skip, header)
    assert find_layout(text.encode("utf-16"), Parsing(), whole=True).encoding == "utf-16"


def test_what_is_given():
    layout = find_layout(b"x\ny;z\na,b\n1,2\n", Parsing.of(header=3, separator="comma"), whole=True)
    assert (layout.separator, layout.skip, layout.header, layout.notes) == (",", 2, True, ())
    layout = find_layout(b"x,y\n1,2\n", Parsing.of(header=0), whole=True)
    assert (layout.skip, layout.header, layout.notes) == (0, False, ())
    with pytest.raises(UnicodeError):
        find_layout(b"a\xff\xfe,b\n", Parsing.of(encoding="utf-8"), whole=True)


def test_earlier_files_tell():
    assert find_layout(b"amount\n1.234,5\n", Parsing(), whole=True, separator=";").separator == ";"
    assert find_layout(b"a,b\n1,2\n", Parsing(), whole=True, separator=";").separator == ","


def test_a_header_line_that_was_named():
    layout = find_layout(b"a, title, of, it\n\nx;y\n1;2\n", Parsing(header=3), whole=True)
    assert (layout.separator, layout.skip, layout.header) == (";", 2, True)
