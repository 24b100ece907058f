"""Standard streams in ASCII, full, closed or read by nobody: what can be printed is, and nothing is raised."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lit_mlfund.startup.streams import not_utf8

SAY = "from lit_mlfund.startup.streams import *; prepare_streams(); "


def run(code: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = f'exec "{sys.executable}" -c "$CODE" {shell}'
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, env={**os.environ, **environment, "CODE": SAY + code}
    )


def test_ascii() -> None:
    done = run("say('─ 0.6 … 0.8 größe 😀')", PYTHONIOENCODING="ascii")
    assert done.stdout == b"- 0.6 ... 0.8 gr\\u00f6\\u00dfe \\ud83d\\ude00\n"
    assert done.returncode == 0


def test_json_in_ascii_has_the_same_values() -> None:
    done = run('OUTPUT.json = True; say_json(\'{"a – b": "größe 😀"}\')', PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout.decode("ascii")) == {"a – b": "größe 😀"}


def test_bytes_that_are_no_utf8_are_escaped() -> None:
    assert run("say('a\\udcffb')", PYTHONIOENCODING="utf-8").stdout == b"a\\udcffb\n"


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "2>&-", ">&- 2>&-", "2>/dev/full"])
def test_streams_that_take_nothing(redirection: str) -> None:
    done = run("say('a'); warn('b'); say('c')", redirection)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr
    if redirection == ">/dev/full":
        assert done.stderr == b"mlfund: cannot write to standard output: No space left on device\nb\n"


def test_what_could_not_be_said_is_told_to_the_caller() -> None:
    assert run("raise SystemExit(7 * (not say('x')))", ">/dev/full").returncode == 7


def test_names_that_are_no_utf8() -> None:
    assert not_utf8(["data.path=größe.csv", "seed=1"]) == []
    (problem,) = not_utf8(["a=1", "name=\udcff"])
    assert problem.startswith(r"'name=\udcff' is not UTF-8")
