"""What a stream can show: its width, whether lines are replaced, styles and characters."""

from __future__ import annotations

import io

import pytest

from lit_mlfund.startup.screen import Screen, short_value
from lit_mlfund.startup.streams import OUTPUT, announce, prepare_streams, say, say_json, say_result, warn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_file_has_no_width_and_no_styles() -> None:
    screen = Screen.of(io.StringIO())
    assert (screen.width, screen.text_width, screen.is_live, screen.styled) == (None, 100, False, False)
    assert screen.style("bold", "a") == "a"


def test_a_terminal_has_both() -> None:
    screen = Screen.of(Terminal())  # of unknown width
    assert (screen.width, screen.text_width, screen.is_live, screen.styled) == (80, 80, True, True)
    assert screen.style("bold", "a") == "\x1b[1ma\x1b[0m" and screen.style("red", "") == ""


@pytest.mark.parametrize(("columns", "width"), [("132", 132), ("7", 20), ("0", None), ("wide", None)])
def test_columns_count_everywhere(columns: str, width: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert Screen.of(io.StringIO()).width == width


def test_styles_that_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen.of(Terminal())
    assert screen.is_live and not screen.styled
    monkeypatch.setenv("TERM", "dumb")
    assert not Screen.of(Terminal()).is_live


def test_characters_that_a_stream_lacks() -> None:
    prepare_streams()
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="lit_mlfund.plain")
    assert Screen.of(stream).plain("0.6 … 0.8 ─ größe") == r"0.6 ... 0.8 - gr\u00f6\u00dfe"
    stream.close()
    assert Screen.of(stream).width is None


@pytest.mark.parametrize(
    ("flags", "out", "err"),
    [
        ({}, "a\nb\n", "w\n"),
        ({"json": True}, "{}\n", "a\nb\nw\n"),
        ({"quiet": True}, "b\n", "w\n"),
        ({"json": True, "quiet": True}, "{}\n", "w\n"),
    ],
)
def test_what_goes_where(
    flags: dict[str, bool], out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with OUTPUT.set(**flags):
        announce("reading …")  # nobody waits
        assert say("a") and say_result("b") and say_json("{}")
        warn("w")
    assert tuple(capsys.readouterr()) == (out, err)
    assert (OUTPUT.json, OUTPUT.quiet) == (False, False)


def test_a_status_gives_way_to_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("sys.stdout", stream)
    announce("x" * 100)
    say("done")
    say("more")
    clear = "\r\x1b[2K"
    assert stream.getvalue() == f"{clear}{'x' * 79}{clear}done\nmore\n"
    monkeypatch.setenv("TERM", "dumb")
    announce("reading …")
    assert stream.getvalue().endswith("more\nreading …\n")


def test_a_worker_prints_as_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    with OUTPUT.set(json=True, quiet=True):
        given = OUTPUT.environment
    with OUTPUT.set(verbose=True):
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        OUTPUT.follow_parent()
        assert (OUTPUT.json, OUTPUT.quiet, OUTPUT.verbose) == (True, True, False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.07963234721775597", "0.07963"),
        ("1e-3", "1e-3"),
        ("[64,32]", "[64,32]"),
        ("123456", "123456"),
        ("", ""),
    ],
)
def test_values_of_many_digits(text: str, shown: str) -> None:
    assert short_value(text) == shown
