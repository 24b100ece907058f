"""Codes of digits: which columns with leading zeros are certain to be codes, however they are cut into pieces."""

import polars as pl
import pytest

from lit_mlfund.data.parsing.codes_in_text import CodeEvidence, padded_cell

CELLS = {
    "zip codes": (["01234", "99999", None, "10115"], True),
    "ids": (["007", "012", "123", "1234"], True),
    "telephone": (["0301234", "03012345678"], True),
    "numbers": (["1", "20", "0", "300"], False),
    "a slip": (["05", "7", "120"], False),
    "lost zeros": (["01234", "1234", "99999"], False),
    "signed": (["-01", "002", "003"], False),
    "decimal": (["01.5", "02.5"], False),
    "no zeros at the start": (["10115", "99999"], False),
    "nothing": ([None, None], False),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("size", [1, 2, 10])
def test_certain(name: str, size: int) -> None:
    cells, certain = CELLS[name]
    evidence = CodeEvidence()
    for start in range(0, len(cells), size):
        evidence.add(pl.Series(cells[start : start + size], dtype=pl.String))
    assert evidence.certain == certain
    assert not certain or evidence.example == next(cell for cell in cells if cell)


def test_a_cell_anywhere() -> None:
    pattern = padded_cell("|")
    for text in (b"01|2", b"a|b\n1|02\n", b'1|"02"|3', b"1|2\r\n003"):
        assert pattern.search(text), text
    for text in (b"1|0|2", b"2020-01-02|1", b"0.5|1", b"1|09:30", b"a01|b"):
        assert not pattern.search(text), text
