"""Pairs of docstring and code from source files."""

import gc

import pytest

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.data.sources.docstrings import standard_library

SOURCE = '''
import os

def plain(a, b):
    """Add two numbers together.

    A second paragraph.
    """
    # über
    return a + b

class Thing:
    if os.name == "nt":
        def method(self): "Say ü on one line."; return self.value
    else:
        async def method(self, other):
            r"""Do it
            some other way."""
            def inner():
                """Part of the outer function."""
                return other
            return inner

def undocumented(a, b):
    return a - b

def short(a):
    """Too short."""
    return a.b.c.d.e.f

def again(a, b):
    """Add two numbers together."""
    return (a + b) * 1
'''


def test_the_docstring_is_cut_out_of_the_code(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "a.py").write_text(SOURCE)
    (tmp_path / "b.py").write_bytes(b"def broken(:\n")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "c.py").write_text(SOURCE.replace("Add", "Put"))
    functions = standard_library(str(tmp_path))

    assert [(f.file, f.name) for f in functions] == [
        ("pkg/a.py", name) for name in ("plain", "Thing.method", "Thing.method")
    ]
    assert functions[0].summary == "Add two numbers together."
    assert functions[0].docstring == "Add two numbers together.\n\nA second paragraph."
    assert functions[0].code == "def plain(a, b):\n    # über\n    return a + b\n"
    assert functions[1].code == "        def method(self):return self.value\n"
    assert functions[2].summary == "Do it some other way."
    assert "Do it" not in functions[2].code
    assert "Part of the outer function" in functions[2].code


def test_the_standard_library_has_thousands_of_distinct_pairs():
    functions = standard_library()
    assert len(functions) > 3000
    assert len({f.code for f in functions}) == len({f.summary for f in functions}) == len(functions)
    assert not any(f.file.startswith(("test/", "idlelib/", "site-packages/")) for f in functions)
    assert gc.isenabled()


def test_a_python_without_sources_is_named(tmp_path):
    with pytest.raises(DataError, match="no documented functions"):
        standard_library(str(tmp_path))
