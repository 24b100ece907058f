"""How often a text file is passed to read it in pieces."""

import pytest

from lit_mlfund.data.reading import reader
from lit_mlfund.data.reading.reader import TableReader


@pytest.mark.parametrize(
    ("lines", "passes"),
    [
        (["x,y", *(f"{n}.5,{n}" for n in range(40))], 1),
        (["x;y", *(f"{n}.500;{n},25" for n in range(1, 40))], 3),  # x is read again as text: thousands
    ],
)
def test_the_types_of_the_first_table_are_found_once(tmp_path, monkeypatch, lines, passes):
    path, calls = tmp_path / "table.csv", []
    path.write_text("\n".join(lines) + "\n")
    scan_table = reader.scan_table
    monkeypatch.setattr(reader, "scan_table", lambda *args: calls.append(args) or scan_table(*args))
    tables = TableReader()
    whole = TableReader().read(str(path)).frame
    assert next(tables.scan(str(path)).pieces()).frame.equals(whole)
    assert len(calls) == passes
    assert next(tables.scan(str(path)).pieces()).frame.equals(whole)
    assert len(calls) == passes + 1
