"""Tries the JSON files of a run folder with other types and sizes, through every command that reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

import lit_mlfund
from lit_mlfund.config.errors import ConfigError
from tests.hostile.conftest import Case

CONTENTS = {
    "a list": b"[1, 2]",
    "a number": b"3",
    "null": b"null",
    "text": b'"<script>alert(1)</script>"',
    "no JSON": b"hello",
    "empty": b"",
    "cut": b'{"status": "do',
    "lists in lists": b"[" * 200_000 + b"]" * 200_000,
    "a long number": b"9" * 100_000,
    "no UTF-8": b'{"status": "\xff\xfe"}',
    "zeros": bytes(1000),
    "not a number": b'{"status": NaN, "data": NaN, "sources": NaN}',
    "lists for values": b'{"status": [], "data": [], "sources": [1], "test": [], "objective": 3}',
    "mappings for values": b'{"status": {}, "data": {"columns": 3, "reading": 4}, "sources": {"a": 1}}',
    "numbers for values": b'{"status": 1e999, "data": {"columns": {"numeric": 3}}, "sources": [{"path": 3}]}',
    "columns of other types": b'{"data": {"columns": {"numeric": [1, [2]], "boolean": ""}}}',
    "a reading of other types": b'{"data": {"reading": {"encoding": 3, "separator": [1], "header": "x"}}}',
}
FILES = ("result.json", "provenance.json", "metrics.json", "findings.json")


@pytest.mark.parametrize("name", CONTENTS)
def test_commands_do_not_depend_on_them(case: Case, name: str) -> None:
    """What these files say is for people; the commands that read a run go on without it, or say what is wrong."""
    for file in FILES:
        (case.run / file).write_bytes(CONTENTS[name])
    commands = case.commands()
    assert case.call(commands["evaluate"])[0] == 0
    code, told = case.call(commands["predict"])
    assert code in (0, 2) and told.count("mlfund: ") == (code == 2), told


@pytest.mark.parametrize("name", ["lists in lists", "no UTF-8", "zeros", "cut", "empty"])
def test_from_python_they_are_one_error(case: Case, name: str) -> None:
    for file in FILES:
        (case.run / file).write_bytes(CONTENTS[name])
    run = lit_mlfund.load_run(case.run)
    for read in (lambda: run.result, lambda: run.metrics, lambda: run.findings):
        with pytest.raises(ConfigError, match=r"\.json is damaged"):
            read()


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTENTS)
def test_a_run_is_resumed_or_repeated_beside_them(case: Case, name: str) -> None:
    for file in FILES:
        (case.run / file).write_bytes(CONTENTS[name])
    code, told = case.call(case.commands()["train"])
    assert code in (0, 2), told
    assert Path(case.run / "run.yaml").exists()
