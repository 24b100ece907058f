"""References within a limit of time."""

from __future__ import annotations

import threading
import time

import pytest

from lit_mlfund.references.fitting import Fitting, fitted


def endless() -> None:
    while True:
        time.sleep(0.01)


def test_without_a_limit_the_fit_is_just_called() -> None:
    assert fitted("linear", threading.current_thread) is threading.main_thread()


def test_a_reference_that_takes_longer_is_left_out_and_ends() -> None:
    shown: list[tuple[str, float]] = []
    with Fitting(0.4, lambda name, elapsed: shown.append((name, elapsed))).active() as fitting:
        assert fitted("linear", lambda: 3) == 3
        assert fitted("boosting", endless) is None
        assert fitted("boosting", lambda: 4) is None  # of another split
    assert fitting.left_out == {"boosting": "not fitted within 0.4 s"}
    assert shown and all(name == "boosting" and elapsed > 0 for name, elapsed in shown)
    deadline = time.monotonic() + 20
    while threading.active_count() > 1:  # Python code in a thread that was left ends
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_error_of_a_fit_is_raised_to_the_caller() -> None:
    with Fitting(None).active(), pytest.raises(ZeroDivisionError):
        fitted("linear", lambda: 1 / 0)
