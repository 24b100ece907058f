"""The request to stop: what a signal raises, what it only notes, and who has the handlers afterwards."""

from __future__ import annotations

import os
import signal

import pytest

from lit_mlfund.startup.signals import STOPPED, Stopped, StopRequest, unmasked


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (signal.SIGINT, "interrupted", 130),
        (signal.SIGTERM, "preempted", 143),
        (signal.SIGUSR1, "preempted", 143),
        (signal.SIGUSR2, "preempted", 143),
    ],
)
def test_a_signal_raises_where_it_arrives(number: signal.Signals, status: str, code: int) -> None:
    before = signal.getsignal(number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    request = StopRequest()
    with request.installed(), pytest.raises(Stopped) as raised:
        os.kill(os.getpid(), number)
    assert (raised.value.code, raised.value.status, STOPPED[status]) == (code, status, code)
    assert raised.value.reason == "stopped by a signal"
    assert number == signal.SIGINT or signal.getsignal(number) == before


def test_a_deferred_signal_is_noted_until_somebody_asks() -> None:
    request = StopRequest()
    with request.installed():
        with request.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGUSR2)
        assert request.number == signal.SIGTERM  # the first one
        with pytest.raises(Stopped, match="stopped by a signal behind job 3"):
            request.check("behind job 3")


def test_a_second_ctrl_c_outside_the_program_is_a_keyboard_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    request = StopRequest()
    with request.installed(), request.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        request = StopRequest()
        with request.installed():
            os.kill(os.getpid(), signal.SIGINT)
        assert not request.raised
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stop_that_a_clean_up_has_replaced() -> None:
    """As where a library, interrupted in the middle, raises while it puts its own state back."""
    with pytest.raises(Stopped) as raised, unmasked():
        try:
            try:
                raise Stopped("stopped by a signal", signal.SIGINT)
            finally:
                None.state  # type: ignore[attr-defined]  # noqa: B018
        except AttributeError as error:
            raise ValueError("run.yaml cannot be read") from error
    assert (raised.value.code, raised.value.reason) == (130, "stopped by a signal")
    with pytest.raises(ValueError, match="of its own"), unmasked():
        raise ValueError("an error of its own")
    error = ValueError("its own cause")
    with pytest.raises(ValueError, match="its own cause"), unmasked():
        raise error from error
